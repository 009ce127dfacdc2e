"""`make status`: what of the local stack runs."""

from __future__ import annotations

from deploy.local.django import WEB, WORKER
from deploy.local.layout import Layout
from deploy.local.postgres import NAME
from deploy.local.private_file import read_json_object
from deploy.local.probes import login_page_status
from deploy.local.services import ServiceRegistry


def show_status(layout: Layout) -> int:
    """Print one line for each service; return 0 if all live, else 3."""
    registry = ServiceRegistry(layout.services)
    alive = True
    for name in (NAME, WEB, WORKER):
        process = registry.running(name)
        if process is None and name == NAME and NAME not in registry.records():
            print(f"{name:<9} not ours, or not running")
            continue
        alive = alive and process is not None
        print(f"{name:<9} {'not running' if process is None else process.pid}")
    url = read_json_object(layout.run_json).get("url")
    port = read_json_object(layout.state).get("web_port")
    if url is not None and port is not None:
        print(f"{url}/admin/ answers {login_page_status(port) or 'nothing'}")
    return 0 if alive and url is not None else 3
