"""Texts of the pure core in the language of whoever reads them; pure itself.

What must not import Django marks its texts with msgid() and tells them by say(). Until
somebody who can translate says so (inventory.apps does), they are told as they stand.
"""

from collections.abc import Callable

Translate = Callable[[str], str]
TranslateMany = Callable[[str, str, int], str]


def _as_it_stands(text: str) -> str:
    return text


def _in_english(one: str, many: str, number: int) -> str:
    return one if number == 1 else many


_one: Translate = _as_it_stands
_many: TranslateMany = _in_english


def translate_with(one: Translate, many: TranslateMany) -> None:
    """Have gettext and ngettext, or what is like them, asked for each text."""
    global _one, _many
    _one, _many = one, many


def msgid(text: str) -> str:
    """Mark a text for translation that is told later."""
    return text


def say(text: str) -> str:
    return _one(text)


def say_many(one: str, many: str, number: int) -> str:
    """Return the text for a `number` of things; both may name it."""
    return _many(one, many, number)
