"""What a field of a shape means, beside its type."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Doc:
    """For Annotated: the text and the example that the OpenAPI document shows."""

    text: str
    example: Any = None
