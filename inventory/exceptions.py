"""Everything that can go wrong with what we own, named by the condition."""


class InventoryError(Exception):
    """Base. public_message may be shown to anyone; str() also to staff."""

    public_message = "The fleet could not do this."


class NotClaimable(InventoryError):
    """A claim lost against the database's own rules; nothing was claimed."""

    public_message = "The cards were taken by another request."


class NoAddress(InventoryError):
    """No pool for this host has an address that is free. host: its name."""

    public_message = "No address is free."

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(f"no address pool for {host} has a free address")


class StaleState(InventoryError):
    """A row changed between reading it and the guarded update."""

    public_message = "This changed in the meantime. Load it again."


class TransitionForbidden(InventoryError):
    """The card's life cycle has no such step."""


class EnrolmentRefused(InventoryError):
    """A host or part of it cannot be sold. problems: one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class HypervisorError(InventoryError):
    """libvirt refused an operation. code: VIR_ERR_*, 0 if there was none."""

    def __init__(self, message: str, code: int = 0) -> None:
        self.code = code
        super().__init__(message)


class HostUnreachable(HypervisorError):
    """No answer from the host within the deadline; its state is unknown, not "free"."""

    public_message = "The host does not answer."


class VolumeBusy(HypervisorError):
    """The host is still copying, filling or wiping the volume, for whoever asked for it."""


class DomainNotFound(HypervisorError):
    """The host answered, and has no such domain: absence is proven."""


class InvalidXml(HypervisorError):
    """A document from a host, or one for it, is not what libvirt's schema says."""
