"""Why a job's step cannot be done."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """can_wait: trying again later may help. is_silent: the host does not answer.

    is_frozen: it let a worker wait for that.
    """

    public_message: str
    detail: str
    can_wait: bool = False
    is_silent: bool = False
    is_frozen: bool = False
