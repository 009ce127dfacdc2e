"""Check the shape of a mail address."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

LONGEST = 254


def email_problem(value: Any) -> str | None:
    """Return why the value is no mail address."""
    try:
        fits = isinstance(value, str) and len(value) <= LONGEST
        validate_email(value if fits else "")
    except ValidationError:
        return f"email must be a mail address of at most {LONGEST} characters"
    return None
