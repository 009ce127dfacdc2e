"""The scopes of a token as words: Linode API v4's `category:level`, or `*`; pure."""

import re

ANY = "*"
READ_ONLY = "read_only"
READ_WRITE = "read_write"
# Linode's categories, with those that only its SDK still names; a token made for a
# service that is not sold here does no harm and saves a script from failing.
CATEGORIES = frozenset(
    """account child_account clients databases domains events firewall images ips linodes
    lke longview maintenance monitor nodebalancers object_storage stackscripts tickets
    tokens users volumes vpc""".split()  # noqa: SIM905 -- easier to read and to extend
)
_INCLUDED_IN = {READ_ONLY: (READ_ONLY, READ_WRITE, ANY), READ_WRITE: (READ_WRITE, ANY)}


def parse(scopes: str) -> frozenset[str]:
    """Return the single scopes; they are separated by spaces or commas."""
    return frozenset(filter(None, re.split(r"[\s,]+", scopes)))


def allows(held: str, needed: str) -> bool:
    """Say whether scopes hold the one `category:level` needed.

    read_write holds read_only, `category:*` both, and `*` everything.
    """
    scopes = parse(held)
    category, _, level = needed.partition(":")
    return ANY in scopes or any(
        f"{category}:{larger}" in scopes for larger in _INCLUDED_IN.get(level, ())
    )


def exceeding(wanted: str, held: str) -> list[str]:
    """Return the wanted scopes that the held ones do not include, sorted."""
    return sorted(scope for scope in parse(wanted) if not allows(held, scope))


def normalised(scopes: str) -> str:
    """Return the scopes sorted, separated by spaces, `*` for all and for no category twice.

    Raises ValueError with the first word that is no scope; none at all is one, too.
    """
    found = parse(scopes)
    if ANY in found:
        return ANY
    levels: dict[str, str] = {}
    for scope in sorted(found):
        category, _, level = scope.partition(":")
        if category not in CATEGORIES or level not in (ANY, *_INCLUDED_IN):
            raise ValueError(scope)
        if level == READ_ONLY:
            levels.setdefault(category, READ_ONLY)
        else:
            levels[category] = READ_WRITE
    if not levels:
        raise ValueError("")
    return " ".join(f"{category}:{levels[category]}" for category in sorted(levels))
