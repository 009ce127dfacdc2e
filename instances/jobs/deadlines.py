"""How long work on an instance may take before it is given up."""

from instances.models import Plan

_SECONDS_BASE = 900
_SECONDS_PER_GIB = 1


def deadline_s(plan: Plan) -> int:
    """Return the seconds: memory is set up before a guest runs, and a TiB takes minutes."""
    return _SECONDS_BASE + _SECONDS_PER_GIB * plan.memory_mib // 1024
