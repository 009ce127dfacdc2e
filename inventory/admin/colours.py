"""Colours of the states in lists: a label for every state, a colour for some."""

from collections.abc import Mapping
from typing import Any

from django.db.models import TextChoices


def coloured(
    states: type[TextChoices], colours: Mapping[Any, str]
) -> dict[str, str | None]:
    """Return the labels of @display for all `states`.

    Of a state that is not in them unfold shows what the database says, and not its name.
    """
    return {state.value: colours.get(state) for state in states}
