"""Who asks for a change by the API."""

from dataclasses import dataclass

from instances.models import Account


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. username: as events show it."""

    account: Account
    username: str

    @property
    def actor(self) -> str:
        return f"user:{self.username}"
