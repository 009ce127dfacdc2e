"""How long work on an instance may take before it is given up."""

from instances.models import Plan

_SECONDS_BASE = 900
_SECONDS_PER_GIB = 1
# What a host overwrites at the least.
_WIPED_MIB_PER_S = 50


def deadline_s(plan: Plan, *, is_wiped: bool = False) -> int:
    """Return the seconds: memory is set up before a guest runs, and a TiB takes minutes.

    is_wiped: its disk is wiped first, which takes hours where terabytes are overwritten.
    """
    wipe_s = plan.disk_mib // _WIPED_MIB_PER_S if is_wiped else 0
    return _SECONDS_BASE + wipe_s + _SECONDS_PER_GIB * plan.memory_mib // 1024
