"""Why an action on instances is refused, named by the condition."""

from typing import Self

from instances.placement import NoFit


class InstancesError(Exception):
    """Base. public_message goes to the customer, str() to staff.

    field: the request's field that is at fault, if one is.
    """

    field: str | None = None

    def __init__(self, public_message: str, detail: str = "") -> None:
        self.public_message = public_message
        super().__init__(detail or public_message)


class InvalidRequest(InstancesError):
    """One or more fields are wrong. errors: (field, reason), in the order of checking."""

    def __init__(self, errors: list[tuple[str | None, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(reason for _, reason in errors))


class Killed(InvalidRequest):
    """It was on sale to the account until a flag was killed; said as of what is unknown."""

    def __init__(self, errors: list[tuple[str | None, str]], flag_name: str) -> None:
        self.flag_name = flag_name
        super().__init__(errors)


class NoCapacity(InstancesError):
    """No host can take it now. kind: of capacity. no_fit, detail: for staff only."""

    field = "region"

    @classmethod
    def of(cls, cards: int, plan: str, region: str, no_fit: NoFit) -> Self:
        """cards: how many the plan has. plan, region: slugs."""
        return cls("GPU capacity" if cards else "capacity", plan, region, no_fit)

    def __init__(
        self, kind: str, plan: str, region: str, no_fit: NoFit, detail: str = ""
    ) -> None:
        self.no_fit = no_fit
        super().__init__(
            f"No {kind} is available in {region} for {plan} right now.",
            detail or str(no_fit),
        )


class NoRoomApart(NoCapacity):
    """Room there is, but only beside another machine of the placement group."""

    field = "placement_group"

    def __init__(self, group: str, plan: str, region: str, no_fit: NoFit) -> None:
        super().__init__("room", plan, region, no_fit)
        self.public_message = (
            f"No host in {region} without a Linode of placement group {group} has room "
            f"for {plan} right now."
        )


class NoRoomToResize(InstancesError):
    """The instance's own host cannot take the new plan beside the old one now."""

    field = "type"

    def __init__(self, plan: str, detail: str) -> None:
        super().__init__(
            f"There is no room for {plan} beside this Linode on its host right now. Try "
            "again later, or create a Linode of that type.",
            f"the host does not fit {plan}: {detail}",
        )


class QuotaExceeded(InstancesError):
    """The account holds, or would hold, more cards of a model than it may."""

    field = "type"

    def __init__(self, model: str, *, allowed: int, used: int, wanted: int) -> None:
        self.allowed, self.used, self.wanted = allowed, used, wanted
        super().__init__(
            f"Account Limit reached. {used} of {allowed} {model} GPUs are in use or "
            f"reserved, and this asks for {wanted} more. Please open a support ticket."
        )


class TrialExceeded(QuotaExceeded):
    """The account's trial has no room for it; what is beyond a trial is not sold unasked."""

    def __init__(self, *, allowed: int, used: int, wanted: int) -> None:
        self.allowed, self.used, self.wanted = allowed, used, wanted
        InstancesError.__init__(
            self,
            f"Your trial allows {allowed} GPUs of this type at once, {used} are in use, "
            f"and this asks for {wanted} more. Delete a Linode of the trial, or open a "
            "support ticket to end it.",
        )


class TrialOver(InstancesError):
    """The instance is kept for a while after its trial, and then deleted."""

    def __init__(self) -> None:
        super().__init__(
            "The trial of this Linode has ended, and it is deleted soon. Open a support "
            "ticket to keep it."
        )


class TrialEnded(InstancesError):
    """There is nothing left of the trial that could be cut short."""


class ReservationEnded(InstancesError):
    """It was used, released, or it is over."""


class IdempotencyConflict(InstancesError):
    """The key was used for another request."""


class Vanished(InstancesError):
    """It was there when it was looked for, and another request has deleted it since."""

    def __init__(self) -> None:
        super().__init__("Not found")


class InstanceBusy(InstancesError):
    """Other work on the instance must end first."""


class CardBusy(InstancesError):
    """Other work on the card must end first."""


class NothingHeld(InstancesError):
    """There is no open claim to release."""


class NotProvenGone(InstancesError):
    """Nothing proves that the machine no longer runs, so it keeps what it holds."""


class CannotAdopt(InstancesError):
    """A guest without rows stays as it is, and its host sells nothing. str(): why."""


class StepFailed(InstancesError):
    """A job's step cannot succeed by trying again."""


class Unreachable(InstancesError):
    """Nothing answers at an address that a person typed, or it may not be asked."""


class PrivateAddress(Unreachable):
    """It is inside a private network. public_message: a clause, to be gone on with."""


class ImageUnusable(StepFailed):
    """An image cannot be fetched or is not what the catalogue says of it."""


class LeaseLost(InstancesError):
    """Another worker took the job over; this one must not write any more."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} was taken over by another worker")


class WorkerStopping(InstancesError):
    """The worker's cluster is told to end: another worker goes on with the job."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} is left to another worker")


class CannotCancel(InstancesError):
    """The job is at work or over, or is of a kind that is never given up."""


class JobAbandoned(InstancesError):
    """The work is no longer wanted: deleted, or its gate was shut."""
