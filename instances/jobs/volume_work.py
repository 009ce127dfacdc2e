"""Work on volumes that takes a host long, and goes on there when nobody waits for it."""

import time
from collections.abc import Callable
from functools import partial

from instances.jobs.context import StepContext
from inventory.exceptions import HypervisorError, VolumeBusy

# Then the job is postponed: a worker has other work, too.
BUSY_PATIENCE_S = 120.0
POLL_S = 1.0
# Beyond the deadline of one copy or wipe (supervised.COPY_TIMEOUT_S).
_LEASE_S = 900


def wait_out(context: StepContext, act: Callable[[], None]) -> None:
    """Call `act` until it meets no volume that is busy.

    Of a worker that died, the host goes on with the copy or wipe that it was told. Raises
    VolumeBusy after BUSY_PATIENCE_S.
    """
    deadline = time.monotonic() + BUSY_PATIENCE_S
    while True:
        context.renew_lease(_LEASE_S)
        try:
            act()
        except VolumeBusy:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(POLL_S)


def delete(context: StepContext, pool: str, volume: str, *, is_wiped: bool) -> None:
    """Delete a volume of a guest; one that is not there is fine.

    is_wiped: wiped before. Raises VolumeBusy, and HypervisorError if it stays.
    """
    if context.machine is None:
        return
    hypervisor = context.machine.hypervisor
    if hypervisor.volume(pool, volume) is None:
        return
    if is_wiped:
        wait_out(context, partial(hypervisor.wipe_volume, pool, volume))
    wait_out(context, partial(hypervisor.delete_volume, pool, volume))
    if hypervisor.volume(pool, volume) is not None:
        raise HypervisorError(f"{volume} is still there after it was deleted")
