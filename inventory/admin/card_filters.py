"""Filters of the card list by the accounting's words, so that its numbers are lists."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from inventory.card_states import CardState, in_state
from inventory.models import Card

CardIds = Callable[[], set[int]]

# Words of the accounting that need to know what is sold: (title, ids of the cards).
_from_above: dict[str, tuple[str, CardIds]] = {}


def add_state(value: str, title: str, card_ids: CardIds) -> None:
    """Let the list be filtered by a state that only the layer above can tell."""
    _from_above[value] = (title, card_ids)


class StateFilter(SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            *CardState.choices,
            *((value, title) for value, (title, _) in _from_above.items()),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Card]
    ) -> QuerySet[Card]:
        value = self.value()
        if value in _from_above:
            return queryset.filter(pk__in=_from_above[value][1]())
        if value in CardState.values:
            return in_state(queryset, CardState(value))
        return queryset
