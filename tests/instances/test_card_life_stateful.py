"""Anything may happen to cards in any order: after each step the fleet is sound.

The real actions, runner, ledger and comparison work on two simulated hosts. A short run,
the same every time, is part of the suite; `--hypothesis-profile=long` looks for new ones.
"""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import pytest
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.choices import ENDED_JOB_STATES, ENDED_PHASES, Phase
from instances.exceptions import InstanceBusy, InvalidRequest, NoCapacity
from instances.jobs import card_work, runner
from instances.models import Instance, Job
from instances.reconcile import reconcile
from inventory.alerts import clear_alert
from inventory.card_actions import quarantine, retire, send_to_checks
from inventory.choices import CardCondition, HostPolicy
from inventory.exceptions import HypervisorError, TransitionForbidden
from inventory.host_policy import set_policy
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor
from inventory.models import Alert, Card, CardClaim
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_image,
    make_order,
    make_plan,
)
from tests.emptying import empty_tables
from tests.instances.simulated_fleet import SLOTS, Fate, Worker, make_site
from tests.instances.soundness import assert_sound
from tests.simulated import stranger_on

ANN = Actor("user:ann", "decided so")
# Rounds of everybody's work after which nothing may be left to do.
ROUNDS = 8
# All coming right is slow; it is worth its time only after some trouble.
STEPS_OF_TROUBLE = 8
T = TypeVar("T")

any_host = st.integers(0, 1)
any_slot = st.sampled_from(SLOTS)
any_row = st.integers(0, 7)
any_policy = st.sampled_from([p for p in HostPolicy if p is not HostPolicy.RETIRED])
others = st.sampled_from(
    ["look", "work", "launch", "delete", "quarantine", "card gone", "reboot", "shut"]
)
ends = st.sampled_from(["silent", "refused", "killed"])
fates = st.one_of(
    st.just(Fate()),
    st.builds(Fate, ends, st.integers(0, 20)),
    st.builds(Fate, others, st.integers(0, 20)),
    st.builds(Fate, st.just("killed in query"), st.integers(0, 90)),
)


def chosen(rows: Sequence[T], number: int) -> T | None:
    return rows[number % len(rows)] if rows else None


class CardLife(RuleBasedStateMachine):
    """Rules draw small numbers; which row one means depends on the rows that there are."""

    @initialize()
    def enrol_two_hosts(self) -> None:
        empty_tables()
        self.steps = 0
        self.sites = [make_site(number) for number in (1, 2)]
        self.account = make_account()
        make_image()
        make_flag(everyone=True)
        self.plans = [
            make_plan(f"gpu-{cards}", cards=cards, flag_name=GPU_FLAG).slug
            for cards in (1, 2, 4)
        ]

    # What customers do.

    @rule(plan=st.integers(0, 2))
    def launch(self, plan: int) -> None:
        order = make_order(self.account, plan=self.plans[plan], image="gpucloud/probe")
        with suppress(NoCapacity, InvalidRequest):
            launch(order)

    @rule(row=any_row)
    def delete(self, row: int) -> None:
        live = Instance.objects.exclude(phase__in=ENDED_PHASES).order_by("pk")
        if instance := chosen(live, row):
            with suppress(InstanceBusy):
                delete(instance, "user:ann", "ann")

    # What workers do, and what befalls them.

    @rule(row=any_row, fate=fates)
    def work(self, row: int, fate: Fate) -> None:
        if job := chosen(_open_jobs().order_by("pk"), row):
            worker = self._worker(fate)
            with worker.at_work():
                runner.run(job.pk, worker.connect)

    @rule(host=any_host, fate=fates)
    def look(self, host: int, fate: Fate) -> None:
        site = self.sites[host]
        worker = self._worker(fate)
        with worker.at_work():
            reconcile(site.host_id, worker.connect(site.uri))
            card_work.plan(site.host_id)

    @rule()
    def time_passes(self) -> None:
        """Every lease of the dead runs out, and what was put off is due."""
        Job.objects.exclude(lease_expires_at=None).update(lease_expires_at=Now())
        Job.objects.exclude(not_before=None).update(not_before=Now())
        Instance.objects.update(updated_at=F("updated_at") - timedelta(minutes=1))

    def _worker(self, fate: Fate) -> Worker:
        return Worker(self.sites, fate, self._meanwhile(fate.at))

    def _meanwhile(self, number: int) -> Callable[[str], None]:
        host = number % 2
        acts: dict[str, Callable[[], None]] = {
            "look": lambda: self.look(host, Fate()),
            "work": lambda: self.work(number, Fate()),
            "launch": lambda: self.launch(0),
            "delete": lambda: self.delete(number),
            "quarantine": lambda: self.quarantine(number),
            "card gone": lambda: self.card_vanishes(host, SLOTS[number % 4]),
            "reboot": lambda: self.host_reboots(host),
            "shut": lambda: self.product_is_opened_or_shut(False),
        }
        return lambda what: acts.get(what, lambda: None)()

    # What happens to hosts, cards and domains.

    @rule(host=any_host)
    def host_falls_silent_or_answers(self, host: int) -> None:
        self.sites[host].is_silent = not self.sites[host].is_silent

    @rule(host=any_host)
    def host_reboots(self, host: int) -> None:
        self.sites[host].hypervisor.reboot()

    @rule(host=any_host, slot=any_slot)
    def card_vanishes(self, host: int, slot: str) -> None:
        self.sites[host].hypervisor.take_out(slot)

    @rule(host=any_host)
    def cards_return(self, host: int) -> None:
        site = self.sites[host]
        site.hypervisor.devices = list(site.devices)

    @rule(host=any_host, slot=any_slot, bad=st.sampled_from([0, 7]))
    def card_breaks_or_works(self, host: int, slot: str, bad: int) -> None:
        self.sites[host].hypervisor.bad_bytes[slot] = bad

    @rule(host=any_host, row=any_row, how=st.sampled_from(["kill", "crash", "remove"]))
    def domain_is_killed(self, host: int, row: int, how: str) -> None:
        hypervisor = self.sites[host].hypervisor
        if domain := chosen(sorted(hypervisor.states), row):
            hypervisor.states[domain] = DomainState.OFF
            if how == "crash":
                hypervisor.states[domain] = DomainState.CRASHED
            if how == "remove":
                hypervisor.undefine_domain(domain)

    @rule(host=any_host, slot=any_slot)
    def stranger_comes(self, host: int, slot: str) -> None:
        site = self.sites[host]
        stranger = str(uuid.uuid4())
        site.strangers.add(stranger)
        site.hypervisor.define_domain(stranger_on(f"{slot}.0", stranger))
        with suppress(HypervisorError):
            site.hypervisor.start_domain(stranger)

    @rule(host=any_host)
    def strangers_leave(self, host: int) -> None:
        site = self.sites[host]
        for stranger in site.strangers & set(site.hypervisor.states):
            site.hypervisor.undefine_domain(stranger)
        site.strangers.clear()

    # What staff do.

    @rule(row=any_row)
    def quarantine(self, row: int) -> None:
        self._on_card(quarantine, row)

    @rule(row=any_row)
    def retire(self, row: int) -> None:
        self._on_card(retire, row)

    @rule(row=any_row)
    def send_to_checks(self, row: int) -> None:
        self._on_card(send_to_checks, row)

    def _on_card(self, act: Callable[[int, Actor], Card], row: int) -> None:
        if card := chosen(Card.objects.order_by("pk"), row):
            with suppress(TransitionForbidden):
                act(card.pk, ANN)

    @rule(host=any_host, policy=any_policy)
    def set_policy(self, host: int, policy: HostPolicy) -> None:
        set_policy(self.sites[host].host_id, policy, ANN)

    @rule(row=any_row)
    def clear_an_alert(self, row: int) -> None:
        if alert := chosen(Alert.objects.filter(cleared_at=None).order_by("pk"), row):
            clear_alert(alert.pk, ANN.name)

    @rule(is_open=st.booleans())
    def product_is_opened_or_shut(self, is_open: bool) -> None:
        make_flag(everyone=is_open)

    @precondition(lambda self: self.steps >= STEPS_OF_TROUBLE)
    @rule()
    def all_comes_right(self) -> None:
        """Once nothing is wrong any more, all work ends and nothing stays half done."""
        self.steps = 0
        for number, site in enumerate(self.sites):
            self.strangers_leave(number)
            self.cards_return(number)
            site.is_silent = False
            site.hypervisor.bad_bytes.clear()
            set_policy(site.host_id, HostPolicy.IN_SERVICE, ANN)
        for _ in range(ROUNDS):
            self.time_passes()
            for number in (0, 1):
                self.look(number, Fate())
            if not _open_jobs().exists():
                break
            for row in reversed(range(_open_jobs().count())):
                self.work(row, Fate())
        assert not _open_jobs().exists()
        self._nothing_is_half_done()

    def _nothing_is_half_done(self) -> None:
        live = Instance.objects.exclude(phase__in=ENDED_PHASES)
        assert {i.phase for i in live} <= {Phase.RUNNING}
        assert {c.consumer for c in CardClaim.objects.filter(released_at=None)} == {
            i.uuid for i in live
        }
        held = CardClaim.objects.filter(released_at=None).values("card")
        asked = Alert.objects.filter(code=card_work.ASK_A_PERSON, cleared_at=None)
        unheld = Card.objects.exclude(pk__in=held).exclude(pk__in=asked.values("card"))
        settled = {
            CardCondition.READY,
            CardCondition.QUARANTINED,
            CardCondition.RETIRED,
        }
        assert {CardCondition(card.condition) for card in unheld} <= settled

    @invariant()
    def fleet_is_sound(self) -> None:
        self.steps += 1
        assert_sound({site.host_id: site.hypervisor for site in self.sites})


def _open_jobs() -> QuerySet[Job]:
    return Job.objects.exclude(state__in=ENDED_JOB_STATES)


@pytest.mark.django_db(transaction=True)
def test_fleet_is_sound_after_anything(settings: object) -> None:
    settings.LAB = True  # type: ignore[attr-defined]
    # However slow the machine, no host goes stale between two questions of one check.
    settings.RECONCILE_CYCLE_S = 3600  # type: ignore[attr-defined]
    run_state_machine_as_test(CardLife)
