"""Choose free TCP ports on the loopback for a host to listen on."""

import random
import socket
from pathlib import Path

_FIRST_PORT = 21000


def free_port() -> int:
    """Return a port that nobody uses, below the range of outgoing connections.

    A port from that range would be lost at some restore: while the host is down, any
    client's socket, even one in TIME_WAIT, may hold it, and the URI would change.
    """
    ports_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    candidates = list(range(_FIRST_PORT, int(ports_file.read_text().split()[0])))
    random.shuffle(candidates)
    for port in [*candidates, 0]:  # 0: the kernel chooses, where there is no such room
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError("no free port")
