"""Name and link the holders of claims, who stand above the inventory.

A claim knows its consumer's UUID and nothing else; whoever owns the consumers says at
start how to name them (instances.admin does).
"""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.views import ChangeList

HolderNames = Callable[[Collection[UUID]], dict[UUID, str]]


def _nobody_known(_: Collection[UUID]) -> dict[UUID, str]:
    return {}


_names: HolderNames = _nobody_known


def name_holders_with(names: HolderNames) -> None:
    """Have `names` (UUIDs -> those it knows, with their names; two queries) asked."""
    global _names
    _names = names


def holder_names(consumers: Collection[UUID]) -> dict[UUID, str]:
    """Return a name for every one of `consumers`; at most two queries."""
    known = _names(set(consumers)) if consumers else {}
    return {consumer: known.get(consumer, str(consumer)) for consumer in consumers}


class HolderChangeList(ChangeList):
    """A list of rows that have a `consumer`, or none."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Name the holders of the page's rows at once."""
        super().get_results(request)
        rows = list(self.result_list)
        names = holder_names({row.consumer for row in rows if row.consumer})
        for row in rows:
            row.holder_name = names.get(row.consumer, "")
        self.result_list = rows


def holder_link(row: Any) -> str:
    """Return a link to the page of a row's holder; a dash if there is none."""
    if row.consumer is None:
        return "-"
    return format_html(
        '<a class="gc-link" href="{}">{}</a>',
        reverse("admin:consumer", args=[row.consumer]),
        # Pages of a single row have named nobody.
        getattr(row, "holder_name", "") or str(row.consumer),
    )
