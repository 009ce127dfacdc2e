"""Waits until a service that was started answers, or says why it does not."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable

from deploy.local.django import WEB, Django
from deploy.local.ports import LOOPBACK
from deploy.local.problems import CommandFailed, NotAnswering
from deploy.local.services import ServiceRegistry

LOGIN_PATH = "/admin/login/"
WEB_ANSWER_S = 60.0
WORKER_ANSWER_S = 30
POLL_S = 0.2


def login_page_status(port: int) -> int:
    """Return the HTTP status of the login page, 0 if there is no answer in 10 s."""
    # Not urllib: it would ask the proxy of the environment.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", LOGIN_PATH)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def wait_for_web(
    registry: ServiceRegistry,
    django: Django,
    port: int,
    status: Callable[[int], int] = login_page_status,
) -> None:
    """Wait until the login page is answered with 200.

    Raises: NotAnswering with the web server's log.
    """
    deadline = time.monotonic() + WEB_ANSWER_S
    answer = 0
    while registry.running(WEB) is not None and time.monotonic() < deadline:
        answer = status(port)
        if answer == 200:
            return
        time.sleep(POLL_S)
    if registry.running(WEB) is None:
        what = "the web server ended at its start"
    else:
        what = f"the web server answers {answer or 'nothing'} at {LOGIN_PATH}"
    raise NotAnswering(what, "see its log above", django.web(port).log)


def wait_for_worker(registry: ServiceRegistry, django: Django) -> None:
    """Wait until the django-q2 cluster has done a piece of work.

    Raises: NotAnswering with the worker's log.
    """
    try:
        django.manage("worker_alive", "--wait", str(WORKER_ANSWER_S))
    except CommandFailed as error:
        gone = registry.running(django.worker().name) is None
        raise NotAnswering(
            "the worker ended at its start" if gone else "the worker does not answer",
            f"see its log above, and {error.log}",
            django.worker().log,
        ) from error
