"""What a root password must be like: Linode API v4's own words; pure."""

import re

TOO_WEAK = "Password does not meet strength requirement."
_LENGTHS = range(7, 129)
_CLASSES = (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]")


def password_problem(password: str) -> str | None:
    """Return what is wrong with it, None if nothing is."""
    if len(password) not in _LENGTHS:
        return f"Password must be {_LENGTHS[0]} to {_LENGTHS[-1]} characters long"
    if sum(bool(re.search(kind, password)) for kind in _CLASSES) < 2:
        return TOO_WEAK
    return None
