"""People of staff with a browser, and a fleet with something in every table."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from flags import changes, launches
from flags.betas import enrol
from flags.changes import Why
from flags.models import Flag, ReadinessThreshold, Verdict
from gpucloud_site.access.log import record
from instances.actions import webhooks
from instances.actions.feedback import give_feedback
from instances.actions.launch import launch
from instances.actions.trials import Grant, grant
from instances.actions.update import update
from instances.actions.waitlist import join
from instances.models import (
    AccessEvent,
    Account,
    ApiChange,
    GpuQuota,
    HostImage,
    Instance,
    PlacementGroup,
    PlacementMember,
    RefusedDemand,
    Reservation,
    SSHKey,
    UsageInterval,
)
from instances.reports.readiness import asked_of, readiness_of
from inventory.address_claims import claim_address
from inventory.alerts import Subject, raise_alert
from inventory.choices import AlertClass, DiscrepancyKind
from inventory.models import Discrepancy, Host, HostOutage
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_beta,
    make_flag,
    make_gpu_model,
    make_host,
    make_image,
    make_invoice,
    make_network,
    make_order,
    make_plan,
    make_region,
    make_token,
)


@pytest.fixture
def staff(admin_user: User) -> Client:
    """Give the browser of a person who may do everything."""
    client = Client()
    client.force_login(admin_user)
    return client


def browser_of(*permissions: str) -> Client:
    """Return the browser of a person of staff who may do `permissions` and no more."""
    user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def fleet(db: None) -> Host:
    """Give a host with two nodes of two ready cards, a plan of 1 and of 2, an image."""
    make_region("us-east")
    make_image()
    make_plan("gpu-1", label="One card", flag_name=GPU_FLAG, position=1)
    make_plan("gpu-2", label="Two cards", cards=2, flag_name=GPU_FLAG, position=2)
    make_flag(tags=("employee",))
    return make_host("host-a")


@pytest.fixture
def employee(db: None) -> Account:
    return make_account("Lab", tags=("employee",))


@pytest.fixture
def instance(fleet: Host, employee: Account) -> Instance:
    """Give an instance with one card whose launch waits for a worker."""
    return launch(make_order(employee, plan="gpu-1", label="trial"))


@pytest.fixture
def full_house(instance: Instance) -> Instance:
    """Have a row in every table that staff can open."""
    make_token(instance.account)
    user = instance.account.members.get()
    SSHKey.objects.create(user=user, label="laptop", ssh_key="ssh-ed25519 AAAA")
    ApiChange.objects.create(
        account=instance.account,
        token=instance.account.tokens.get(),
        token_name="test (0123abcd…)",
        username=user.username,
        method="DELETE",
        path=f"/v4/linode/instances/{instance.pk}",
        status=200,
    )
    host = Host.objects.get(name="host-a")
    raise_alert(Subject(host=host), AlertClass.WARNING, "test", "hot", "It is hot.")
    make_network(host)
    claim_address(host, instance.uuid)
    HostImage.objects.create(host=host, digest="0" * 64)
    Discrepancy.objects.create(
        host=host,
        kind=DiscrepancyKind.STRAY_DOMAIN,
        subject="a domain",
        detail="a domain of no instance",
        first_seen_at=timezone.now(),
        last_seen_at=timezone.now(),
    )
    HostOutage.objects.create(
        host=host,
        began_at=timezone.now(),
        ended_at=timezone.now(),
        cause="asked in vain",
    )
    GpuQuota.objects.create(gpu_model=make_gpu_model(), cards=8)
    Reservation.objects.create(
        account=instance.account,
        plan=instance.plan,
        region=instance.region,
        expires_at=timezone.now(),
        created_by="user:tester",
    )
    RefusedDemand.objects.create(
        account=instance.account,
        plan=instance.plan,
        region=instance.region,
        reason=RefusedDemand.Reason.CAPACITY,
        is_employee=True,
    )
    group = PlacementGroup.objects.create(
        account=instance.account,
        region=instance.region,
        label="apart",
        policy="strict",
    )
    PlacementMember.objects.create(
        group=group, instance=instance, host=host, policy=group.policy
    )
    _change_flags(instance.account)
    join(instance.account, instance.plan.slug, "us-east", "user:tester")
    webhooks.create(instance.account, "https://ops.example.net", [], "user:tester")
    update(instance, "tester", tags=["trial"])
    UsageInterval.objects.create(
        instance=instance,
        plan=instance.plan,
        starts_at=timezone.now(),
        price_hourly=instance.plan.price_hourly,
        price_monthly=instance.plan.price_monthly,
        is_billed=False,
    )
    make_invoice(instance.account, instance)
    _judge_and_try(instance)
    record(AccessEvent.Kind.LOGIN, user)
    return instance


def _judge_and_try(instance: Instance) -> None:
    said = {"workload": "rendering", "text": "Fast."}
    give_feedback(instance, said, "user:tester")
    customer, plans = make_account("On trial"), (instance.plan,)
    grant(Grant(customer, plans, 1, 24, "user:tester", "to see it"))


def _change_flags(account: Account) -> None:
    enrol(account, make_beta(), "user:tester")
    flag, why = Flag.objects.get(name="beta"), Why("user:tester", "to see it")
    changes.change(flag.pk, {"note": "seen"}, why)
    tomorrow = timezone.now() + timedelta(days=1)
    changes.change(flag.pk, {"note": "more"}, why, tomorrow)
    ReadinessThreshold.objects.get_or_create(
        flag=None, line="launches", defaults={"bound": 20}
    )
    behind = Flag.objects.get(name=GPU_FLAG)
    report = readiness_of(behind, asked_of(behind)).as_json()
    launches.decide(behind.pk, Verdict.NO_GO, "too few", why.by, report)


def errors_of(response: Any) -> dict[str, list[str]]:
    """Return the errors of the response's form, by field."""
    return {
        name: list(errors) for name, errors in response.context["form"].errors.items()
    }
