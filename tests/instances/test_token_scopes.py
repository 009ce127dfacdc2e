"""What scopes hold, and in which form they are kept."""

import re

import pytest

from instances.models import ApiToken
from instances.token_scopes import CATEGORIES, allows, exceeding, normalised


@pytest.mark.parametrize(
    ("held", "needed", "allowed"),
    [
        ("*", "linodes:read_write", True),
        ("linodes:read_write", "linodes:read_only", True),
        ("linodes:*", "linodes:read_write", True),
        ("linodes:read_only", "linodes:read_write", False),
        ("linodes:read_only,events:read_only", "events:read_only", True),
        ("account:read_write", "linodes:read_only", False),
        ("linodes:read_write", "*", False),
        ("", "linodes:read_only", False),
    ],
)
def test_allows(held: str, needed: str, allowed: bool) -> None:
    assert allows(held, needed) is allowed


@pytest.mark.parametrize(
    ("scopes", "kept"),
    [
        ("linodes:read_only", "linodes:read_only"),
        ("linodes:read_write, events:read_only", "events:read_only linodes:read_write"),
        ("linodes:read_only linodes:read_write", "linodes:read_write"),
        ("linodes:*,linodes:read_only", "linodes:read_write"),
        ("events:read_only *", "*"),
    ],
)
def test_scopes_are_kept_in_one_form(scopes: str, kept: str) -> None:
    assert normalised(scopes) == kept


def test_scopes_of_every_category_fit_their_column() -> None:
    every = normalised(" ".join(f"{name}:*" for name in CATEGORIES))
    longest = ApiToken._meta.get_field("scopes").max_length
    assert longest is not None
    assert len(every) <= longest


@pytest.mark.parametrize(
    ("scopes", "bad"),
    [("", ""), (" , ", ""), ("linodes", "linodes"), ("linodes:all", "linodes:all"),
     ("gpus:read_only", "gpus:read_only"), ("*:read_only", "*:read_only")],
)  # fmt: skip
def test_what_is_no_scope_is_refused(scopes: str, bad: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(bad)}$"):
        normalised(scopes)


def test_exceeding_names_each_scope_that_is_not_held() -> None:
    held = "linodes:read_only account:read_write"
    assert exceeding("linodes:read_only account:read_only", held) == []
    assert exceeding("linodes:read_write events:read_only", held) == [
        "events:read_only",
        "linodes:read_write",
    ]
    assert exceeding("*", held) == ["*"]
