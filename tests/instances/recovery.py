"""What recovers without a hand: work for real workers, and what must hold afterwards."""

from django.db.models import F
from django_q.models import OrmQ, Task

from instances.actions.guest_settings import GuestSettings
from instances.actions.launch import launch
from instances.choices import ENDED_JOB_STATES, ENDED_PHASES
from instances.models import Account, Event, Image, Instance, Job, JobStep, SeedSettings
from inventory.models import AddressClaim, CardClaim, Host, NodeClaim
from tests.builders import make_order, make_plan
from tests.clusters import Cluster, eventually
from tests.instances.soundness import assert_sound
from tests.simulated_hosts import HostStore

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMzm9Xf0hgqTmJ1mIkMIxLhJcM1hL1yo8u6cX1yWq0aB"
HASH = "$6$rounds=5000$abc$0123456789"
SECRET = "hunter2-of-the-customer"
GUEST = GuestSettings(
    keys=(KEY,), password_hash=HASH, user_data=f"#!/bin/sh\n# {SECRET}\n".encode()
)
WHO = ("user:tester", "tester")


def launched(image: Image, account: Account, *, booted: bool = True) -> Job:
    order = make_order(
        account,
        plan=make_plan(cards=1, disk_mib=64).slug,
        image=image.slug,
        settings=GUEST,
        booted=booted,
    )
    return Job.objects.get(instance=launch(order))


def all_ended(workers: Cluster) -> None:
    def left() -> int:
        return Job.objects.exclude(state__in=ENDED_JOB_STATES).count()

    while before := left():
        eventually(lambda: left() < before, f"one of {before} ends: {workers.log}")


def assert_rows_and_host_agree(host: HostStore) -> None:
    living = {
        str(uuid)
        for uuid in Instance.objects.exclude(phase__in=ENDED_PHASES).values_list(
            "uuid", flat=True
        )
    }
    claimed = [
        {str(row.consumer) for row in model.objects.filter(released_at=None)}
        for model in (CardClaim, NodeClaim, AddressClaim)
    ]
    assert claimed == [living, living, living]
    with host.host() as machine:
        domains = {uuid for uuid in machine.states if uuid in machine.documents}
        assert domains == living
        told = {str(i.uuid): i.phase for i in Instance.objects.filter(uuid__in=living)}
        running = {uuid for uuid in living if machine.states[uuid] == "running"}
        assert running == {uuid for uuid in living if told[uuid] == "running"}
        assert set(machine.filters) == {f"gpucloud-{uuid}" for uuid in living}
        behind = Instance.objects.filter(filter_applied__lt=F("filter_wanted"))
        assert not behind.exists()
        disks = {name for pool, name in machine.disks if pool == "gpucloud-disks"}
        for uuid in living:
            assert any(uuid in name for name in disks), "a guest lost its disk"
        assert all(any(uuid in name for uuid in living) for name in disks), disks
        assert_sound({Host.objects.get().pk: machine})


def assert_no_secret_is_told(workers: Cluster) -> None:
    assert not SeedSettings.objects.exists()
    rows = [
        row
        for model in (Job, JobStep, Event, OrmQ, Task)
        for row in model.objects.values()
    ]
    for text in (workers.said(), repr(rows)):
        assert SECRET not in text
        assert HASH not in text
