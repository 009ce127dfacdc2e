"""Make, change and delete firewalls, and put instances on them.

Every change of what packets are held to is counted at the instances that it is for, in its own
transaction: instances.filter_work brings it to their hosts. None is refused because an
instance or its host is busy.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from instances import filter_work, limits
from instances.actions.caller import Caller
from instances.choices import (
    EntityType,
    EventAction,
    EventStatus,
    FirewallStatus,
)
from instances.exceptions import InvalidRequest, Vanished
from instances.instance_names import (
    FIREWALL_LABEL_LENGTH,
    is_firewall_label,
    tags_problem,
)
from instances.limits import refuse_more
from instances.models import Account, Event, Firewall, FirewallDevice, Instance
from instances.selectors import instances_of
from instances.tasks import enqueue_job

LABEL_RULE = (
    f"Label must be 3 to {FIREWALL_LABEL_LENGTH} characters: letters, digits, single - _ "
    "or . between them"
)
LABEL_TAKEN = "Label must be unique among your Cloud Firewalls"
UNKNOWN = "A valid Firewall by that ID was not found"
Problems = list[tuple[str | None, str]]


def create(
    caller: Caller,
    label: str,
    rules: dict[str, Any],
    status: FirewallStatus = FirewallStatus.ENABLED,
    tags: Sequence[str] = (),
    instance_ids: Collection[int] = (),
) -> Firewall:
    """Make a firewall and put instances on it. rules: as firewall_rules checked them.

    Raises InvalidRequest with all that is wrong; then nothing was made.
    """
    problems = _problems(caller.account, label=label, tags=tags)
    problems += _device_problems(caller.account, instance_ids, "devices.linodes")
    if problems:
        raise InvalidRequest(problems)
    with _unique(caller.account, label), transaction.atomic():
        mine = Firewall.objects.filter(account=caller.account)
        refuse_more(caller.account, mine, limits.FIREWALLS, "Cloud Firewalls")
        firewall = Firewall.objects.create(
            account=caller.account,
            label=label,
            status=status,
            tags=list(tags),
            rules=rules,
        )
        for pk in sorted(set(instance_ids)):
            _put_on(firewall, pk, "devices.linodes")
        _tell(caller, firewall, EventAction.FIREWALL_CREATE)
        _begin(caller, instance_ids)
    return firewall


def update(
    caller: Caller,
    firewall: Firewall,
    *,
    label: str | None = None,
    status: FirewallStatus | None = None,
    tags: Sequence[str] | None = None,
) -> None:
    """Give the firewall what is not None of these. Raises InvalidRequest or Vanished."""
    problems = _problems(caller.account, label=label, tags=tags, of=firewall)
    if problems:
        raise InvalidRequest(problems)
    given: dict[str, Any] = {
        "label": label,
        "status": status,
        "tags": None if tags is None else list(tags),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    with _unique(caller.account, label, of=firewall), transaction.atomic():
        before = _locked(firewall)
        Firewall.objects.filter(pk=before.pk).update(**changes, updated_at=Now())
        before.label = label or before.label
        if status is not None and status != before.status:
            _change(caller, _instances_on(before))
            _tell(caller, before, _SWITCHED[status])
        if label is not None or tags is not None:
            _tell(caller, before, EventAction.FIREWALL_UPDATE)


_SWITCHED = {
    FirewallStatus.ENABLED: EventAction.FIREWALL_ENABLE,
    FirewallStatus.DISABLED: EventAction.FIREWALL_DISABLE,
}


def update_rules(caller: Caller, firewall: Firewall, rules: dict[str, Any]) -> None:
    """Have the firewall hold its instances to `rules`, as firewall_rules checked them.

    Raises Vanished.
    """
    with transaction.atomic():
        before = _locked(firewall)
        if before.rules == rules:
            return
        Firewall.objects.filter(pk=before.pk).update(
            rules=rules, version=F("version") + 1, updated_at=Now()
        )
        _change(caller, _instances_on(before))
        _tell(caller, before, EventAction.FIREWALL_RULES_UPDATE)


def delete(caller: Caller, firewall: Firewall) -> None:
    """Delete the firewall: nothing holds its instances any more. Raises Vanished."""
    with transaction.atomic():
        before = _locked(firewall)
        instance_ids = _instances_on(before)
        filter_work.want(instance_ids)
        _tell(caller, before, EventAction.FIREWALL_DELETE)
        before.delete()
        _begin(caller, instance_ids)


def attach(caller: Caller, firewall: Firewall, instance_id: int) -> FirewallDevice:
    """Put an instance of the account on the firewall.

    Raises InvalidRequest if it is not the account's or is on one, Vanished.
    """
    if problems := _device_problems(caller.account, [instance_id], "id"):
        raise InvalidRequest(problems)
    with transaction.atomic():
        locked = _locked(firewall)
        device = _put_on(locked, instance_id, "id")
        _begin(caller, [instance_id])
        _tell(caller, locked, EventAction.FIREWALL_DEVICE_ADD, device.instance)
    return device


def attach_new(instance: Instance, firewall_id: int) -> None:
    """Put an instance that is being made on a firewall, in its launch's transaction.

    Raises InvalidRequest if the account has no such firewall any more.
    """
    firewall = (
        Firewall.objects.select_for_update(no_key=True)
        .filter(pk=firewall_id, account=instance.account)
        .first()
    )
    if firewall is None:
        raise InvalidRequest([("firewall_id", UNKNOWN)])
    FirewallDevice.objects.create(firewall=firewall, instance=instance)


def detach(caller: Caller, device: FirewallDevice) -> None:
    """Take an instance off its firewall. Raises Vanished."""
    with transaction.atomic():
        locked = _locked(device.firewall)
        filter_work.want([device.instance_id])
        gone, _ = FirewallDevice.objects.filter(pk=device.pk).delete()
        if not gone:
            raise Vanished
        _begin(caller, [device.instance_id])
        _tell(caller, locked, EventAction.FIREWALL_DEVICE_REMOVE, device.instance)


def apply_again(caller: Caller, instance: Instance) -> None:
    """Bring the instance's rules to its host once more, whatever is there."""
    with transaction.atomic():
        _change(caller, [instance.pk])


def _problems(
    account: Account,
    *,
    label: str | None,
    tags: Sequence[str] | None,
    of: Firewall | None = None,
) -> Problems:
    problems: Problems = []
    if label is not None:
        if not is_firewall_label(label):
            problems.append(("label", LABEL_RULE))
        elif _is_taken(account, label, of):
            problems.append(("label", LABEL_TAKEN))
    if tags is not None and (problem := tags_problem(tags)):
        problems.append(("tags", problem))
    return problems


def _device_problems(
    account: Account, instance_ids: Collection[int], field: str
) -> Problems:
    wanted = sorted(set(instance_ids))
    found = set(
        instances_of(account).filter(pk__in=wanted).values_list("pk", flat=True)
    )
    taken = set(
        FirewallDevice.objects.filter(instance__in=found).values_list(
            "instance_id", flat=True
        )
    )
    return [
        (field, _taken(pk) if pk in taken else f"Linode {pk} is not one of yours")
        for pk in wanted
        if pk in taken or pk not in found
    ]


def _taken(instance_id: int) -> str:
    return f"Linode {instance_id} is on a firewall already; take it off that first"


def _is_taken(account: Account, label: str | None, of: Firewall | None) -> bool:
    others = Firewall.objects.filter(account=account, label=label)
    return (others.exclude(pk=of.pk) if of else others).exists()


@contextmanager
def _unique(
    account: Account, label: str | None, *, of: Firewall | None = None
) -> Iterator[None]:
    """Refuse the label if another request with it committed first."""
    try:
        yield
    except IntegrityError:
        if not _is_taken(account, label, of):
            raise
        raise InvalidRequest([("label", LABEL_TAKEN)]) from None


def _locked(firewall: Firewall) -> Firewall:
    locked = Firewall.objects.select_for_update().filter(pk=firewall.pk).first()
    if locked is None:
        raise Vanished
    return locked


def _instances_on(firewall: Firewall) -> list[int]:
    return list(firewall.devices.values_list("instance_id", flat=True))


def _put_on(firewall: Firewall, instance_id: int, field: str) -> FirewallDevice:
    """Raises InvalidRequest if the instance ended, or got a firewall, meanwhile."""
    if not filter_work.want([instance_id]):
        raise InvalidRequest([(field, f"Linode {instance_id} is not one of yours")])
    if FirewallDevice.objects.filter(instance=instance_id).exists():
        raise InvalidRequest([(field, _taken(instance_id))])
    return FirewallDevice.objects.create(firewall=firewall, instance_id=instance_id)


def _change(caller: Caller, instance_ids: Collection[int]) -> None:
    filter_work.want(instance_ids)
    _begin(caller, instance_ids)


def _begin(caller: Caller, instance_ids: Collection[int]) -> None:
    for job_id in filter_work.begin(instance_ids, caller.actor):
        enqueue_job(job_id)


def _tell(
    caller: Caller,
    firewall: Firewall,
    action: EventAction,
    instance: Instance | None = None,
) -> None:
    """Write an event; instance: that the firewall was put on or taken off."""
    Event.objects.create(
        account=caller.account,
        action=action,
        status=EventStatus.NOTIFICATION,
        entity_type=EntityType.FIREWALL,
        entity_id=firewall.pk,
        entity_label=firewall.label,
        secondary_entity_id=instance.pk if instance else None,
        secondary_entity_label=instance.label if instance else "",
        username=caller.username,
        percent_complete=100,
    )
