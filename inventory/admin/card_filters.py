"""Filters of the card list by the accounting's words, so that its numbers are lists."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from inventory.card_states import CardState, in_state
from inventory.models import Card

CardTest = Callable[[], Q]

# Words of the accounting that need to know what is sold: (title, test of cards).
_from_above: dict[str, tuple[Promise, CardTest]] = {}


def add_state(value: str, title: Promise, test: CardTest) -> None:
    """Let the list be filtered by a state that only the layer above can tell."""
    _from_above[value] = (title, test)


class StateFilter(SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            *((state.value, str(state.label)) for state in CardState),
            *((value, str(title)) for value, (title, _test) in _from_above.items()),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Card]
    ) -> QuerySet[Card]:
        value = self.value()
        if value in _from_above:
            return queryset.filter(_from_above[value][1]())
        if value in CardState.values:
            return in_state(queryset, CardState(value))
        return queryset
