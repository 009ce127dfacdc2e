"""Why a flag is not changed, in words for staff."""


class ChangeRefused(Exception):
    """Nothing was changed. str(): why, and what to do."""


class GatesBusy(ChangeRefused):
    """Some claim does not end."""

    def __init__(self) -> None:
        super().__init__("Some launch takes too long to begin. Try again in a moment.")
