"""Every text of the staff site is translatable; what stands in no catalogue is data."""

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import translation

from instances.choices import (
    DiskFormat,
    EntityType,
    EventAction,
    EventStatus,
    PlacementPolicy,
    PlanClass,
)
from instances.models import Instance
from instances.refusal import Constraint, Failure, NoFit
from instances.reports.catalogue import REPORTS
from inventory.choices import DiscrepancyKind, HostConnection
from inventory.preflight import HostReport, check, way_to
from inventory.remedies import remedy_of
from tests.admin.test_pages import REGISTERED, url_of
from tests.builders import make_host, make_region

_DIALOG = re.compile(r'data-dialog="([^"]+)"')
_OWN_PAGES = (
    *("index", "launch", "capacity", "fleet", "health", "reports", "usage"),
    *("inventory_host_enrol", "inventory_host_check_host", "second-factor"),
    "password_change",
)
# Words of the wire, which nobody translates.
_WIRE = (EventAction, EventStatus, EntityType, DiskFormat, PlanClass, PlacementPolicy)
_UNITS = {"UTC", "MiB", "GiB", "KiB", "s", "h", "CSV", "gpucloud", "UUID", "vCPU"}
# Of Django: how a password is hashed, and its first letters. Of unfold: a key. A digest.
_FOREIGN = re.compile(
    r"^qemu\+tls://HOST/system$|: argon2(id)?$|: [\w/.+]{6}\*+$|^esc$|^[0-9a-f]{64}$|^[A-Z]$"
)
_UNSEEN = {"script", "style", "code", "pre", "textarea", "svg"}
_VOID = {"input", "br", "img", "link", "meta", "hr", "path", "col"}
_TOLD_IN = ("aria-label", "title", "placeholder", "alt")


def marked(text: Any) -> str:
    return f"⟦{text}⟧" if text else ""


@pytest.fixture
def pseudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all that is looked up in a catalogue come back marked."""
    catalogue = translation._trans
    monkeypatch.setattr(catalogue, "gettext", marked)
    monkeypatch.setattr(catalogue, "pgettext", lambda _, text: marked(text))

    def one_of(one: str, many: str, number: int) -> str:
        return marked(one if number == 1 else many)

    monkeypatch.setattr(catalogue, "ngettext", one_of)
    monkeypatch.setattr(
        catalogue, "npgettext", lambda _, one, many, number: one_of(one, many, number)
    )


class Plain(HTMLParser):
    """The texts that people see or hear of a page, less what of them is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden: list[str] = []
        # A mark may begin before a link and end after it.
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        told = [given[name] for name in _TOLD_IN if name in given]
        if tag == "input" and given.get("type") in {"submit", "button"}:
            told.append(given.get("value", ""))
        self.texts += [self._plain(text) for text in told]
        is_icon = "material-symbols-outlined" in given.get("class", "")
        if tag not in _VOID and (self._hidden or tag in _UNSEEN or is_icon):
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.texts.append(self._plain(data))

    @classmethod
    def part_of(cls, text: str) -> str:
        return cls()._plain(text)

    def _plain(self, text: str) -> str:
        parts = []
        for part in re.split("([⟦⟧])", text):
            self._depth += {"⟦": 1, "⟧": -1}.get(part, 0)
            if not self._depth and part != "⟧":
                parts.append(part)
        return " ".join(" ".join(parts).split())


def data_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from data_of([*value, *value.values()])
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from data_of(each)
    elif value is not None:
        yield str(value)


def data() -> re.Pattern[str]:
    """Match what people wrote and code recorded: all columns of all rows, and their names.

    Columns of choices are words of ours, and people read their labels.
    """
    found = {word for words in _WIRE for word in words.values}
    for model in apps.get_models():
        columns = [f for f in model._meta.concrete_fields if not f.choices]
        for row in model._default_manager.all():
            found |= {*data_of([getattr(row, f.attname) for f in columns])}
            found.add(Plain.part_of(str(row)))
    told = sorted((d for d in found if re.search("[A-Za-z]", d)), key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, told))})(?!\w)")


def addresses() -> Iterator[str]:
    yield from (reverse(f"admin:{name}") for name in _OWN_PAGES)
    yield from (reverse("admin:report", args=[name]) for name in REPORTS)
    for model in REGISTERED:
        yield url_of(model, "changelist")
        yield url_of(model, "add")
        row = model._default_manager.first()
        if row is not None:
            yield url_of(model, "change", row.pk)


def pages(staff: Client, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each page that there is, and the dialogs that it offers."""
    todo, seen = list(paths), set()
    while todo:
        path = todo.pop(0)
        answer = staff.get(path)
        if answer.status_code != 200:
            continue
        yield path, answer.text
        found = set(_DIALOG.findall(answer.text)) - seen
        seen |= found
        todo += sorted(found)


def untranslated(page: str, known: re.Pattern[str]) -> list[str]:
    parser = Plain()
    parser.feed(page)
    words = {
        text: re.findall("[A-Za-z]+", known.sub(" ", text)) for text in parser.texts
    }
    return [
        text
        for text, left in words.items()
        if set(left) - _UNITS and not _FOREIGN.search(text)
    ]


@pytest.mark.django_db(transaction=True)
def test_every_text_of_every_page_can_be_translated(
    pseudo: None, staff: Client, full_house: Instance
) -> None:
    Group.objects.create(name="operators")
    make_region("region-empty")
    make_host("host-silent", connection=HostConnection.UNKNOWN)
    known = data()

    told: dict[str, str] = {}
    for path, page in pages(staff, addresses()):
        for text in untranslated(page, known):
            told.setdefault(text, path)

    assert told == {}


def test_a_plain_text_is_found() -> None:
    page = '<p>⟦Known⟧ host-a</p><p>Plain</p><a title="So plain"></a><code>run</code>'

    assert untranslated(page, re.compile("host-a")) == ["Plain", "So plain"]


def test_the_pure_core_is_told_in_the_readers_language(pseudo: None) -> None:
    told = [*map(remedy_of, DiscrepancyKind), str(NoFit()), way_to("qemu://host")]
    told += [str(Failure(constraint, 1, 2)) for constraint in Constraint]
    silent = dict.fromkeys(("facts", "versions", "pci_backends", "free_pages"), "no")
    host = HostReport("qemu+tls://host/system", refusals=silent)
    told += [line.text for line in check(host)]

    assert [text for text in told if not text.startswith("⟦")] == []


def test_pages_are_in_the_readers_language_and_the_api_in_its_own(
    db: None, settings: Any
) -> None:
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    german = Client(headers={"Accept-Language": "de"})

    page, answer = german.get("/admin/login/"), german.get("/v4/account")

    assert ('lang="de"' in page.text, "Passwort" in page.text) == (True, True)
    assert answer.json() == Client().get("/v4/account").json()
