"""Customers, staff and bad luck: each cycle does one verb, and some have a fault in them."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_q.tasks import async_task

from instances.choices import ENDED_JOB_STATES
from instances.models import Job, WebhookDelivery
from inventory.alerts import clear_alert
from inventory.card_actions import quarantine, send_to_checks
from inventory.choices import CardCondition, HostPolicy
from inventory.exceptions import HypervisorError, TransitionForbidden
from inventory.host_policy import set_policy
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor
from inventory.models import Alert, Card, CheckImage, GpuModel, Region
from inventory.snapshots import is_free_of_many
from tests.api.builders import Customer
from tests.half_a_year.clock import SimulatedClock
from tests.half_a_year.cluster import OneProcessCluster
from tests.instances.simulated_fleet import SLOTS, Fate, Site, Worker
from tests.simulated import stranger_on

ANN = Actor("user:ann", "decided so")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMzm9Xf0hgqTmJ1mIkMIxLhJcM1hL1yo8u6cX1yWq0aB"
PASSWORD = "Sonnenblume-7"
IMAGE = {"image": "linode/debian12", "authorized_keys": [KEY]}
INSTANCES = "/linode/instances"
RESERVATIONS, WAITLIST = "/gpucloud/reservations", "/gpucloud/waitlist"
VERBS = {
    "running": ("reboot", "shutdown", "rebuild", "resize", "delete", "delete"),
    "offline": ("boot", "password", "resize", "rebuild", "delete", "delete"),
}
# A deadline of a job is minutes, a postponed one is tried again within ten.
ROUND_S, ROUNDS = 60, 120
FAULT_EVERY = 3


@dataclass
class Life:
    """plans: slugs; the last fits on no host. cycle_s: how long a cycle is, in seconds."""

    clock: SimulatedClock
    sites: list[Site]
    customer: Customer
    staff: User
    plans: list[str]
    cycle_s: float
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)
    tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._fate = Fate()
        self._to_come: list[str] = []
        self.cluster = OneProcessCluster(self._at_work)

    # What workers meet.

    def connect(self, uri: str) -> Any:
        """Return the connection that the product keeps; each task meets its own fate."""
        return _Line(self, uri)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.worker = Worker(self.sites, self._fate, lambda _: None)
        self._fate = Fate()
        with self.worker.at_work():
            yield

    # Cycles.

    def cycle(self, number: int) -> None:
        """Do one verb that the present state allows; wait until all rests; pass the time."""
        began = self.clock.time()
        self._housekeep(number)
        is_faulty = number % FAULT_EVERY == 0
        if is_faulty:
            fault = self._next_fault()
            self.done[fault] += 1
            getattr(self, fault)()
        self._do(*self._chosen())
        self.cluster.run_due()
        if is_faulty:
            self.pass_time(self.random.choice((ROUND_S, 3 * ROUND_S, 10 * ROUND_S)))
            self.heal()
        self.settle()
        self.pass_time(began + self.cycle_s - self.clock.time())

    def _next_fault(self) -> str:
        """Each befalls us as often as any other."""
        if not self._to_come:
            self._to_come = self.random.sample(FAULTS, len(FAULTS))
        return self._to_come.pop()

    def pass_time(self, seconds: float) -> None:
        if seconds > 0:
            self.clock.sleep(seconds)
            self.cluster.run_due()

    def settle(self) -> None:
        for _ in range(ROUNDS):
            if not Job.objects.exclude(state__in=ENDED_JOB_STATES).exists():
                return
            self.pass_time(ROUND_S)
        open_jobs = Job.objects.exclude(state__in=ENDED_JOB_STATES)
        raise AssertionError(f"never ends: {list(open_jobs.values())}")

    def instances(self) -> list[dict[str, Any]]:
        return list(self.call("GET", f"{INSTANCES}?page_size=100")["data"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.customer.api.call(method, path, body)
        assert answer.status_code in (200, 400), (method, path, answer.content)
        return {**answer.json(), "is_done": answer.status_code == 200}

    def receive(self, _: WebhookDelivery) -> int:
        """Answer as the receiver of a webhook does, with an HTTP status."""
        return self.random.choice((200, 200, 200, 503))

    # What customers do.

    def _chosen(self) -> tuple[str, dict[str, Any]]:
        choices: list[tuple[str, dict[str, Any]]] = [("create", {})] * 6
        choices += [("reserve", {}), ("wait", {})]
        for instance in self.instances():
            choices += [(verb, instance) for verb in VERBS.get(instance["status"], ())]
        return self.random.choice(choices)

    def _do(self, verb: str, instance: dict[str, Any], slug: str = "") -> None:
        plan = {"type": slug or self.random.choice(self.plans[:-1])}
        place = {"region": "us-east"}
        bodies: dict[str, Any] = {
            "create": {**plan, **place, **IMAGE},
            "reserve": {**plan, **place, "expires": self._in_hours(3)},
            "wait": {**plan, **place},
            "resize": plan,
            "rebuild": IMAGE,
            "password": {"root_pass": PASSWORD},
        }
        path = f"{INSTANCES}/{instance.get('id')}/{verb}"
        paths = {"create": INSTANCES, "reserve": RESERVATIONS, "wait": WAITLIST}
        if verb == "delete":
            answer = self.call("DELETE", path.removesuffix("/delete"))
        else:
            answer = self.call("POST", paths.get(verb, path), bodies.get(verb))
        self.done[verb if answer["is_done"] else f"{verb} refused"] += 1

    def _in_hours(self, hours: int) -> str:
        return f"{timezone.now() + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}"

    # What happens along with it, evenly: its rows are few.

    def _housekeep(self, number: int) -> None:
        if number % 2 == 0:
            self._renew_token()
        if number % 5 == 0:
            self._visit_admin(number)
        if number % 6 == 0:
            self.check_image_is_lost()
        if number % 6 == 3:
            self.stranger_comes()
        if number % 5 == 2:
            self._do("create", {}, self.plans[-1])
        if number % 5 == 1:
            async_task("instances.tasks.of_an_older_release")

    def _renew_token(self) -> None:
        body = {"label": "renewed", "scopes": "*", "expiry": self._in_hours(12)}
        self.tokens.append(self.call("POST", "/profile/tokens", body)["id"])
        if len(self.tokens) > 2:
            # Half are revoked, the others expire.
            self.customer.api.delete(f"/profile/tokens/{self.tokens.pop(0)}")
            self.tokens.pop(0)

    def _visit_admin(self, number: int) -> None:
        browser = Client()
        browser.force_login(self.staff)
        region = Region.objects.get()
        form = {"slug": region.slug, "label": f"Newark {number}", "country": "us"}
        path = f"/admin/inventory/region/{region.pk}/change/"
        answer = browser.post(path, {**form, "is_open": "on"})
        assert answer.status_code == 302, answer.content

    # Bad luck.

    def worker_dies(self) -> None:
        self._fate = Fate("killed", self.random.randrange(20))

    def worker_dies_in_query(self) -> None:
        self._fate = Fate("killed in query", self.random.randrange(90))

    def host_refuses(self) -> None:
        self._fate = Fate("refused", self.random.randrange(20))

    def line_is_lost(self) -> None:
        self._fate = Fate("silent", self.random.randrange(20))

    def host_is_silent(self) -> None:
        self._site().is_silent = True

    def host_reboots(self) -> None:
        self._site().hypervisor.reboot()

    def guest_crashes(self) -> None:
        hypervisor = self._site().hypervisor
        for domain in sorted(hypervisor.states)[:1]:
            hypervisor.states[domain] = DomainState.CRASHED

    def card_goes(self) -> None:
        self._site().hypervisor.take_out(self.random.choice(SLOTS))

    def card_breaks(self) -> None:
        self._site().hypervisor.bad_bytes[self.random.choice(SLOTS)] = 7

    def stranger_comes(self) -> None:
        site, stranger = self._site(), str(uuid.uuid4())
        site.strangers.add(stranger)
        address = f"{self.random.choice(SLOTS)}.0"
        site.hypervisor.define_domain(stranger_on(address, stranger))
        with suppress(HypervisorError):
            site.hypervisor.start_domain(stranger)

    def card_is_suspected(self) -> None:
        card = self.random.choice(list(Card.objects.order_by("pk")))
        with suppress(TransitionForbidden):
            quarantine(card.pk, ANN)

    def check_image_is_lost(self) -> None:
        """An alert tells of it as soon as a card is to be checked."""
        GpuModel.objects.update(scrub_image=None, test_image=None)
        for card in Card.objects.filter(is_free_of_many())[:1]:
            quarantine(card.pk, ANN)
        self._recheck_cards()

    def host_is_maintained(self) -> None:
        set_policy(self._site().host_id, HostPolicy.MAINTENANCE, ANN)

    def _site(self) -> Site:
        return self.random.choice(self.sites)

    def heal(self) -> None:
        """Take every fault away, as people would, and look at the hosts."""
        image = CheckImage.objects.get()
        GpuModel.objects.update(scrub_image=image, test_image=image)
        for site in self.sites:
            for stranger in site.strangers & set(site.hypervisor.states):
                site.hypervisor.undefine_domain(stranger)
            site.strangers.clear()
            site.hypervisor.devices = list(site.devices)
            site.hypervisor.bad_bytes.clear()
            site.is_silent = False
            set_policy(site.host_id, HostPolicy.IN_SERVICE, ANN)
        # A silent host is asked ever less often.
        self.pass_time(8 * ROUND_S)
        for alert in Alert.objects.filter(cleared_at=None):
            clear_alert(alert.pk, ANN.name)
        self._recheck_cards()
        self.pass_time(ROUND_S)

    def _recheck_cards(self) -> None:
        for card in Card.objects.filter(condition=CardCondition.QUARANTINED):
            # One in use waits until it is let go of.
            with suppress(TransitionForbidden):
                send_to_checks(card.pk, ANN)


# Of workers first; then of hosts, guests, cards and people.
FAULTS = (
    *("worker_dies", "worker_dies_in_query", "host_refuses", "line_is_lost"),
    *("host_is_silent", "host_reboots", "guest_crashes", "card_goes", "card_breaks"),
    *("card_is_suspected", "host_is_maintained"),
)


class _Line:
    """A connection to a host, through whichever worker is at it."""

    def __init__(self, life: Life, uri: str) -> None:
        self._life, self._uri = life, uri

    def __getattr__(self, name: str) -> Any:
        return getattr(self._life.worker.connect(self._uri), name)

    def close(self) -> None:
        """Nothing is held between two calls."""
