"""Models' and fields' names and help texts as people read them: translatable ones.

Django makes most names of what is written anyway ("claimed_at"), so they stand in no call
of gettext; written out a second time they would only differ one day.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Field
from django.utils.translation import gettext_lazy

APPS = ("inventory", "instances", "flags")


def make_translatable() -> None:
    """Have each name and help text looked up when it is shown. The texts stay."""
    for named, attribute in _named():
        setattr(named, attribute, gettext_lazy(str(getattr(named, attribute))))


def texts() -> set[str]:
    """Return all of them, for those who translate."""
    return {str(getattr(named, attribute)) for named, attribute in _named()}


def _named() -> Iterator[tuple[Any, str]]:
    """Yield what has a text, and the attribute that is the text."""
    for label in APPS:
        for model in apps.get_app_config(label).get_models():
            meta = model._meta  # noqa: SLF001 -- public API
            yield meta, "verbose_name"
            yield meta, "verbose_name_plural"
            for field in meta.get_fields():
                if isinstance(field, Field):
                    yield field, "verbose_name"
                    if field.help_text:
                        yield field, "help_text"
