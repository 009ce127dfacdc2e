"""Where guests' serial consoles are kept on every host; pure."""

CONSOLE_POOL = "gpucloud-console"
CONSOLE_FOLDER = "/var/log/libvirt/gpucloud"


def console_volume(uuid: str) -> str:
    """Return the log's name in the pool; by UUID, so that no label can name a path."""
    return f"{uuid}.log"


def console_file(uuid: str) -> str:
    """Return the log's path on the host."""
    return f"{CONSOLE_FOLDER}/{console_volume(uuid)}"
