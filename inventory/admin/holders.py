"""Name and link the holders of claims, who stand above the inventory.

A claim knows its consumer's UUID and nothing else; whoever owns the consumers says at
start how to name them (instances.admin does).
"""

from collections.abc import Callable, Collection
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html

HolderNames = Callable[[Collection[UUID]], dict[UUID, str]]


def _nobody_known(_: Collection[UUID]) -> dict[UUID, str]:
    return {}


_names: HolderNames = _nobody_known


def name_holders_with(names: HolderNames) -> None:
    """Have `names` (UUIDs -> those it knows, with their names; one query) asked."""
    global _names
    _names = names


def holder_names(consumers: Collection[UUID]) -> dict[UUID, str]:
    """Return a name for every one of `consumers`; at most one query."""
    known = _names(set(consumers)) if consumers else {}
    return {consumer: known.get(consumer, str(consumer)) for consumer in consumers}


def holder_link(consumer: UUID | None, name: str = "") -> str:
    """Return a link to the holder's page; a dash if there is none."""
    if consumer is None:
        return "-"
    return format_html(
        '<a class="gc-link" href="{}">{}</a>',
        reverse("admin:consumer", args=[consumer]),
        name or str(consumer)[:8],
    )
