"""Collect the staff site's texts into the catalogues of its languages, or compile them."""

from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.commands import makemessages

from gpucloud_site.model_names import texts
from gpucloud_site.monitoring.health import PARTS
from instances.jobs.workflows import WORKFLOWS

# A file for xgettext to read: what is told of no literal in a call.
_TOLD_BY_NAME = settings.BASE_DIR / "told_by_name.py"
_NOT_OURS = ("tests/*", "deploy/*", "benchmarks/*", "shared/*", "staticfiles/*")


class Command(makemessages.Command):
    help = (
        "Write locale/LANGUAGE/LC_MESSAGES/django.po, or compile it. Needs GNU gettext."
    )
    xgettext_options = [
        *makemessages.Command.xgettext_options,
        *("--keyword=say", "--keyword=msgid", "--keyword=say_many:1,2"),
    ]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "language", nargs="*", help="such as de; none: those there are"
        )
        parser.add_argument(
            "--compile", action="store_true", help="make the .mo files that are read"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        languages = options["language"] or [
            folder.name for folder in Path(settings.LOCALE_PATHS[0]).glob("*")
        ]
        if not languages:
            raise CommandError("There is no language yet: name one, such as de.")
        if options["compile"]:
            call_command("compilemessages", locale=languages, ignore_patterns=[".venv"])
            return
        Path(settings.LOCALE_PATHS[0]).mkdir(exist_ok=True)
        _TOLD_BY_NAME.write_text("".join(map(_call, _told_by_name())))
        try:
            super().handle(**{**_DEFAULTS, **options, "locale": languages})
        finally:
            _TOLD_BY_NAME.unlink()


# What makemessages would have asked for.
_DEFAULTS = {
    "all": False,
    "domain": "django",
    "exclude": [],
    "extensions": None,
    "ignore_patterns": list(_NOT_OURS),
    "keep_pot": False,
    "no_location": False,
    "no_obsolete": False,
    "no_wrap": False,
    "symlinks": False,
    "use_default_ignore_patterns": True,
    "add_location": "file",
}


def _told_by_name() -> Iterable[str]:
    steps = {step.label for steps in WORKFLOWS.values() for step in steps}
    return sorted(texts() | steps | PARTS.keys())


def _call(text: str) -> str:
    return f"gettext({text!r})\n"
