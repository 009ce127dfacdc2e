"""Work on volumes that takes a host long, and goes on there when nobody waits for it."""

import time
from collections.abc import Callable

from instances.jobs.context import StepContext
from inventory.exceptions import HypervisorError, VolumeBusy
from inventory.hypervisor.port import wipe_limit_s

# Then the job is postponed: a worker has other work, too.
BUSY_PATIENCE_S = 120.0
POLL_S = 1.0
_LEASE_S = 300


def wait_out(context: StepContext, act: Callable[[], None]) -> None:
    """Call `act` until it meets no volume that is busy.

    Of a worker that died, the host goes on with the copy or wipe that it was told. Raises
    VolumeBusy after BUSY_PATIENCE_S.
    """
    deadline = time.monotonic() + BUSY_PATIENCE_S
    while True:
        try:
            act()
        except VolumeBusy:
            if time.monotonic() > deadline:
                raise
        else:
            return
        context.renew_lease(_LEASE_S)
        time.sleep(POLL_S)


def delete(context: StepContext, pool: str, volume: str, *, is_wiped: bool) -> None:
    """Delete a volume of a guest; one that is not there is fine.

    is_wiped: wiped before. Raises VolumeBusy, and HypervisorError if it stays.
    """
    if context.machine is None:
        return
    hypervisor = context.machine.hypervisor
    facts = hypervisor.volume(pool, volume)
    if facts is None:
        return
    if is_wiped:
        limit_s = int(wipe_limit_s(facts.allocation))

        def wipe() -> None:
            context.renew_lease(limit_s + _LEASE_S)
            hypervisor.wipe_volume(pool, volume)

        wait_out(context, wipe)
    wait_out(context, lambda: hypervisor.delete_volume(pool, volume))
    if hypervisor.volume(pool, volume) is not None:
        raise HypervisorError(f"{volume} is still there after it was deleted")
