"""Make, rename and delete placement groups, and give them members or take them out.

The locks and their order are those of instances.placement_groups.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from instances.actions.caller import Caller
from instances.choices import (
    Desired,
    EntityType,
    EventAction,
    EventStatus,
    PlacementPolicy,
)
from instances.exceptions import InvalidRequest, Vanished
from instances.instance_names import is_group_label
from instances.limits import refuse_more
from instances.models import Account, Event, Instance, PlacementGroup, PlacementMember
from instances.placement_groups import Wish, seating_of
from instances.selectors import instances_of, regions_for
from inventory.ledger import lock_host, open_node_claims

LABEL_RULE = (
    "Label must be 1 to 64 letters, digits, - _ or . and begin and end with a letter or "
    "digit"
)
LABEL_TAKEN = "Label must be unique among your placement groups"
HAS_MEMBERS = (
    "This placement group has Linodes. Unassign or delete them first; one that is being "
    "deleted counts until it is gone"
)


def create(
    caller: Caller, label: str, region: str, policy: PlacementPolicy
) -> PlacementGroup:
    """Make an empty group. region: a slug. Raises InvalidRequest with all that is wrong."""
    place = regions_for(caller.account).filter(slug=region).first()
    problems = [] if place else [("region", "region is not valid")]
    if problem := _label_problem(caller.account, label):
        problems.append(("label", problem))
    if place is None or problems:
        raise InvalidRequest([*problems])
    with _unique(caller.account, label), transaction.atomic():
        mine = caller.account.placement_groups.all()
        most = settings.PLACEMENT_GROUPS_MAX
        refuse_more(caller.account, mine, most, "placement groups")
        group = PlacementGroup.objects.create(
            account=caller.account, region=place, label=label, policy=policy
        )
        tell(group, EventAction.PLACEMENT_GROUP_CREATE, caller.username)
    return group


def rename(caller: Caller, group: PlacementGroup, label: str) -> None:
    """Give the group another label. Raises InvalidRequest or Vanished."""
    if problem := _label_problem(caller.account, label, of=group):
        raise InvalidRequest([("label", problem)])
    with _unique(caller.account, label, of=group), transaction.atomic():
        mine = PlacementGroup.objects.filter(pk=group.pk)
        if not mine.update(label=label, updated_at=Now()):
            raise Vanished
        group.label = label
        tell(group, EventAction.PLACEMENT_GROUP_UPDATE, caller.username)


def delete(caller: Caller, group: PlacementGroup) -> None:
    """Delete an empty group. Raises InvalidRequest while it has members, or Vanished."""
    with transaction.atomic():
        locked = PlacementGroup.objects.select_for_update().filter(pk=group.pk).first()
        if locked is None:
            raise Vanished
        if locked.members.exists():
            raise InvalidRequest([(None, HAS_MEMBERS)])
        tell(locked, EventAction.PLACEMENT_GROUP_DELETE, caller.username)
        locked.delete()


def assign(
    caller: Caller,
    group: PlacementGroup,
    instance_ids: Collection[int],
    *,
    compliant_only: bool = False,
) -> None:
    """Make instances of the account members, all or none; they stay where they are.

    Raises InvalidRequest with all that is wrong, or Vanished.
    """
    wanted = sorted(set(instance_ids))
    with transaction.atomic():
        seating = seating_of(caller.account, Wish(group.pk, compliant_only))
        if seating is None:
            raise Vanished
        instances = _locked(caller.account, wanted)
        problems = [
            ("linodes", problem)
            for pk in wanted
            if (problem := _problem(pk, instances.get(pk), seating.group))
        ]
        if problem := seating.room_problem(len(wanted)):
            problems.append(("linodes", problem))
        if problems:
            raise InvalidRequest([*problems])
        for pk, instance in instances.items():
            seating.seat(instance, "linodes", f"Linode {pk}")
            action = EventAction.PLACEMENT_GROUP_ASSIGN
            tell(seating.group, action, caller.username, instance)


def unassign(
    caller: Caller, group: PlacementGroup, instance_ids: Collection[int]
) -> None:
    """Take instances out, all or none; they stay where they are. Raises InvalidRequest."""
    wanted = sorted(set(instance_ids))
    with transaction.atomic():
        members = {
            member.instance_id: member
            for member in group.members.select_for_update(of=("self",))
            .filter(instance__in=wanted)
            .select_related("instance")
            .order_by("pk")
        }
        if strangers := [pk for pk in wanted if pk not in members]:
            reason = "Linode {} is not in this placement group"
            raise InvalidRequest([("linodes", reason.format(pk)) for pk in strangers])
        for member in members.values():
            member.delete()
            action = EventAction.PLACEMENT_GROUP_UNASSIGN
            tell(group, action, caller.username, member.instance)


def tell(
    group: PlacementGroup,
    action: EventAction,
    username: str,
    instance: Instance | None = None,
) -> None:
    """Write an event; instance: that was put in or taken out."""
    Event.objects.create(
        account_id=group.account_id,
        action=action,
        status=EventStatus.NOTIFICATION,
        entity_type=EntityType.PLACEMENT_GROUP,
        entity_id=group.pk,
        entity_label=group.label,
        secondary_entity_id=instance.pk if instance else None,
        secondary_entity_label=instance.label if instance else "",
        username=username,
        percent_complete=100,
    )


def _locked(account: Account, wanted: list[int]) -> dict[int, Instance]:
    """Lock the hosts of the account's instances, then these, and return them by id."""
    mine = instances_of(account).filter(pk__in=wanted)
    claims = open_node_claims(*mine.values_list("uuid", flat=True))
    for host_id in sorted({claim.numa_node.host_id for claim in claims}):
        lock_host(host_id)
    rows = (
        Instance.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk__in=mine.values("pk"))
        .select_related("placement_member__group")
        .order_by("pk")
    )
    return {instance.pk: instance for instance in rows}


def _problem(pk: int, instance: Instance | None, group: PlacementGroup) -> str | None:
    if instance is None or instance.is_ended:
        return f"Linode {pk} is not one of yours"
    if instance.desired == Desired.DELETED:
        return f"Linode {pk} is being deleted"
    if instance.region_id != group.region_id:
        return f"Linode {pk} is not in the region of placement group {group.label}"
    member: PlacementMember | None = getattr(instance, "placement_member", None)
    if member is not None:
        return f"Linode {pk} is in placement group {member.group.label} already"
    return None


def _label_problem(
    account: Account, label: str, of: PlacementGroup | None = None
) -> str | None:
    if not is_group_label(label):
        return LABEL_RULE
    return LABEL_TAKEN if _is_taken(account, label, of) else None


def _is_taken(account: Account, label: str, of: PlacementGroup | None) -> bool:
    others = PlacementGroup.objects.filter(account=account, label=label)
    return (others.exclude(pk=of.pk) if of else others).exists()


@contextmanager
def _unique(
    account: Account, label: str, of: PlacementGroup | None = None
) -> Iterator[None]:
    """Refuse the label if another request with it committed first."""
    try:
        yield
    except IntegrityError:
        if not _is_taken(account, label, of):
            raise
        raise InvalidRequest([("label", LABEL_TAKEN)]) from None
