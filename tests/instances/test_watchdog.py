"""Guests that stop: which start again, how often, and what is told of them."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from instances import watchdog
from instances.actions.power import boot, shut_down
from instances.actions.update import update
from instances.choices import WATCHDOG
from instances.models import Event, Instance, Job
from instances.reconcile import reconcile
from instances.status import status_of
from inventory.choices import HostPolicy
from inventory.exceptions import HypervisorError
from inventory.host_policy import set_policy
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor
from inventory.models import CardClaim, Host
from tests.instances.test_jobs import failing, run
from tests.instances.test_reconcile import host, kinds, launched
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["host"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_grace(settings: Settings) -> None:
    settings.SHUTDOWN_GRACE_S = 0


def stop(
    hypervisor: SimulatedHypervisor, instance: Instance, state: DomainState
) -> None:
    hypervisor.states[str(instance.uuid)] = state


def looked_at(host: Host, hypervisor: SimulatedHypervisor) -> list[Job]:
    """Look at the host as the task does; return the boots that the watchdog began."""
    reconcile(host.pk, hypervisor)
    return list(Job.objects.filter(pk__in=watchdog.revive(host.pk)))


def shown(instance: Instance) -> str:
    instance.refresh_from_db()
    return str(status_of(instance))


def test_crashed_guest_is_started_again(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    stop(simulated_host, instance, DomainState.CRASHED)

    (job,) = looked_at(host, simulated_host)

    assert (job.kind, job.actor, shown(instance)) == ("boot", WATCHDOG, "booting")
    assert looked_at(host, simulated_host) == []
    run(job, simulated_host)
    assert shown(instance) == "running"
    event = Event.objects.latest("pk")
    assert (event.action, event.status, event.username) == (
        "lassie_reboot",
        "finished",
        "",
    )
    assert reconcile(host.pk, simulated_host) == []
    assert CardClaim.objects.filter(released_at=None).count() == 1


def test_guest_that_switched_itself_off_is_left_alone_and_boots_again(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    stop(simulated_host, instance, DomainState.SHUT_DOWN)

    assert looked_at(host, simulated_host) == []

    assert shown(instance) == "offline"
    # libvirt is restarted, and has forgotten why.
    stop(simulated_host, instance, DomainState.OFF)
    assert looked_at(host, simulated_host) == []
    assert (shown(instance), instance.observed) == ("offline", "shut_down")
    assert reconcile(host.pk, simulated_host) == []
    job = boot(instance, "user:tester", "tester")
    assert job is not None
    run(job, simulated_host)
    assert shown(instance) == "running"


def test_crash_is_not_forgotten_when_libvirt_forgets_it(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    stop(simulated_host, instance, DomainState.CRASHED)
    reconcile(host.pk, simulated_host)
    stop(simulated_host, instance, DomainState.OFF)

    assert len(looked_at(host, simulated_host)) == 1


def test_unplugged_guest_is_told_and_left_to_people(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    simulated_host.destroy_domain(str(instance.uuid))

    assert looked_at(host, simulated_host) == []

    assert shown(instance) == "offline"
    assert kinds(reconcile(host.pk, simulated_host)) == ["domain_off"]


def test_guests_run_again_after_their_host_has_booted(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    running, stopped = launched(simulated_host), launched(simulated_host)
    job = shut_down(stopped, "user:tester", "tester")
    assert job is not None
    run(job, simulated_host)
    reconcile(host.pk, simulated_host)
    simulated_host.reboot()

    (revived,) = looked_at(host, simulated_host)

    assert revived.instance == running
    run(revived, simulated_host)
    assert (shown(running), shown(stopped)) == ("running", "offline")


def test_host_in_maintenance_starts_its_guests_when_it_is_back(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    reconcile(host.pk, simulated_host)
    set_policy(host.pk, HostPolicy.MAINTENANCE, Actor("user:staff", "new fan"))
    simulated_host.reboot()
    assert looked_at(host, simulated_host) == []
    assert shown(instance) == "offline"

    set_policy(host.pk, HostPolicy.IN_SERVICE, Actor("user:staff", "done"))

    (job,) = looked_at(host, simulated_host)
    run(job, simulated_host)
    assert shown(instance) == "running"


def test_five_times_in_fifteen_minutes_then_left_off_with_an_event(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    for _ in range(watchdog.MOST_BOOTS):
        stop(simulated_host, instance, DomainState.CRASHED)
        (job,) = looked_at(host, simulated_host)
        run(job, simulated_host)
    stop(simulated_host, instance, DomainState.CRASHED)

    assert looked_at(host, simulated_host) == []

    assert (shown(instance), instance.desired) == ("offline", "off")
    told = Event.objects.filter(action="lassie_reboot", status="failed")
    assert [event.message for event in told] == [watchdog.GIVEN_UP]
    assert looked_at(host, simulated_host) == []
    assert told.count() == 1
    assert reconcile(host.pk, simulated_host) == []


def test_starts_that_fail_too_slowly_for_that_are_given_up_too(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    for _ in range(5):
        job = Job.objects.create(
            kind="boot",
            instance=instance,
            actor=WATCHDOG,
            state="failed",
            deadline_at=timezone.now(),
        )
        Job.objects.filter(pk=job.pk).update(
            created_at=timezone.now() - timedelta(hours=1)
        )
    stop(simulated_host, instance, DomainState.CRASHED)

    assert looked_at(host, simulated_host) == []

    instance.refresh_from_db()
    assert instance.desired == "off"


def test_boots_of_an_hour_ago_do_not_count(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    for _ in range(watchdog.MOST_BOOTS):
        stop(simulated_host, instance, DomainState.CRASHED)
        (job,) = looked_at(host, simulated_host)
        run(job, simulated_host)
    Job.objects.update(created_at=timezone.now() - timedelta(hours=1))
    stop(simulated_host, instance, DomainState.CRASHED)

    assert len(looked_at(host, simulated_host)) == 1


def test_boot_that_fails_is_tried_again_and_counts(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    stop(simulated_host, instance, DomainState.CRASHED)
    broken = Faulty(simulated_host, failing("start_domain", HypervisorError("no", 1)))
    for _ in range(watchdog.MOST_BOOTS):
        (job,) = looked_at(host, simulated_host)
        run(job, broken)
        assert shown(instance) == "offline"

    assert looked_at(host, simulated_host) == []
    instance.refresh_from_db()
    assert instance.desired == "off"


def test_watchdog_that_is_off_does_nothing_until_it_is_on(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    update(instance, "tester", watchdog_enabled=False)
    stop(simulated_host, instance, DomainState.CRASHED)
    assert looked_at(host, simulated_host) == []
    assert kinds(reconcile(host.pk, simulated_host)) == ["domain_off"]

    update(instance, "tester", watchdog_enabled=True)

    assert len(looked_at(host, simulated_host)) == 1


def test_guest_that_was_shut_down_is_no_difference_and_keeps_all(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host, cards=2)
    job = shut_down(instance, "user:tester", "tester")
    assert job is not None
    run(job, simulated_host)

    assert reconcile(host.pk, simulated_host) == []

    assert CardClaim.objects.filter(released_at=None).count() == 2
    stop(simulated_host, instance, DomainState.CRASHED)
    assert looked_at(host, simulated_host) == []


def test_guest_that_was_started_on_its_host_is_told_and_can_be_shut_down(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launched(simulated_host)
    job = shut_down(instance, "user:tester", "tester")
    assert job is not None
    run(job, simulated_host)
    simulated_host.start_domain(str(instance.uuid))

    assert kinds(reconcile(host.pk, simulated_host)) == ["domain_on"]

    assert shown(instance) == "running"
    again = shut_down(instance, "user:tester", "tester")
    assert again is not None
    run(again, simulated_host)
    assert shown(instance) == "offline"
    assert reconcile(host.pk, simulated_host) == []
