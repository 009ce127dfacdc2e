"""Which request, job, instance, card and host a line of the log is about; pure.

Set at the edges, where work begins, and read where a line is formatted: whatever is called
in between need not know.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Id = int | str
_NOTHING: dict[str, Id] = {}
_ids: ContextVar[dict[str, Id]] = ContextVar("log ids", default=_NOTHING)


def current_ids() -> dict[str, Id]:
    """Return id by name, such as {"job": 7, "instance": 3, "host": 1}."""
    return dict(_ids.get())


@contextmanager
def about(**ids: Id | None) -> Iterator[None]:
    """Have the lines within tell these ids, and those that note() adds there."""
    token = _ids.set(_ids.get() | _known(ids))
    try:
        yield
    finally:
        _ids.reset(token)


def note(**ids: Id | None) -> None:
    """Add what was found out only now, until the innermost about() ends."""
    _ids.set(_ids.get() | _known(ids))


def _known(ids: dict[str, Id | None]) -> dict[str, Id]:
    return {name: each for name, each in ids.items() if each is not None}
