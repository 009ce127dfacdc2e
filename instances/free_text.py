"""What people may write in their own words: printable characters and line breaks."""

import re


def is_free_text(text: str, longest: int) -> bool:
    """Say whether at most `longest` characters, each of which can be shown."""
    shown = re.sub(r"[\r\n\t]", "", text)
    return len(text) <= longest and (not shown or shown.isprintable())
