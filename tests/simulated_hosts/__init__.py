"""Simulated hosts that many processes share, at simulated:///NAME; never in production.

Each host is a small file of a folder. What it does is tests.simulated.SimulatedHypervisor's
doing; here it gets a memory that outlives the process, delays and faults.
"""

from tests.simulated_hosts.driver import SharedHypervisor, answer_from, host_at
from tests.simulated_hosts.faults import Fault
from tests.simulated_hosts.store import HostStore

__all__ = ["Fault", "HostStore", "SharedHypervisor", "answer_from", "host_at"]
