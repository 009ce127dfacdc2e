"""Keep the machines of a placement group on different hosts.

Whoever gives a group a member locks the group's row first, so that two launches into one
group see one another's hosts. The order of locks: reservation, group, account, hosts by
id, instances, firewall. What takes a member out locks no group: a seat that is being given
up counts as taken. The index strict_group_once_on_a_host is the last word.
"""

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from instances.choices import PlacementPolicy
from instances.claiming import claim_capacity, fits_one_of, room_of
from instances.exceptions import InvalidRequest, NoCapacity, NoRoomApart
from instances.models import Account, Instance, PlacementGroup, PlacementMember, Plan
from instances.placement import Apart, NoFit
from instances.selectors import host_of, request_of
from inventory.ledger import Actor
from inventory.models import Region

UNKNOWN = "A valid placement group by that ID was not found"
GROUP_FIELD = "placement_group.id"


@dataclass(frozen=True, slots=True)
class Wish:
    """To be in a group. compliant_only: rather not at all than beside another member."""

    group_id: int
    compliant_only: bool = False

    @property
    def identity(self) -> list[object]:
        """What tells one such wish from another, as JSON can hold it."""
        return [self.group_id, self.compliant_only]


@dataclass(slots=True)
class Seating:
    """A group whose row is locked, and its members' hosts. taken: ids of hosts."""

    group: PlacementGroup
    taken: set[int]
    members: int
    keeps_apart: bool

    def room_problem(self, more: int) -> str | None:
        """Return why so many more members are too many."""
        most = settings.PLACEMENT_GROUP_MEMBERS_MAX
        if self.members + more <= most:
            return None
        return (
            f"A placement group may have {most} Linodes, and {self.group.label} has "
            f"{self.members}"
        )

    def claim(self, instance: Instance, actor: Actor) -> None:
        """Claim what the new instance needs, apart from the members.

        Raises NoRoomApart or NoCapacity.
        """
        plan, region = instance.plan, instance.region
        placed = claim_capacity(
            request_of(plan),
            region,
            instance.uuid,
            actor,
            apart=Apart(
                self.group.label,
                frozenset(self.taken),
                may_share=not self.keeps_apart,
            ),
        )
        if isinstance(placed, NoFit):
            raise self._refusal(plan, region, placed)

    def _refusal(self, plan: Plan, region: Region, no_fit: NoFit) -> NoCapacity:
        if fits_one_of(request_of(plan), room_of(region.pk)):
            return NoRoomApart(self.group.label, plan.slug, region.slug, no_fit)
        return NoCapacity.of(plan.cards, plan.slug, region.slug, no_fit)

    def seat(self, instance: Instance, field: str, what: str) -> None:
        """Make the instance a member where its claims are.

        The caller holds the lock of its host. what: is there already, as `field` names it.
        Raises InvalidRequest if it would be beside a member and may not, or holds nothing.
        """
        host = host_of(instance)
        if host is None:
            raise InvalidRequest([(field, f"{what} is being deleted")])
        if self.keeps_apart and host.pk in self.taken:
            reason = (
                f"{what} is on the same host as another Linode of placement group "
                f"{self.group.label}"
            )
            raise InvalidRequest([(field, reason)])
        PlacementMember.objects.create(
            group=self.group, instance=instance, host=host, policy=self.group.policy
        )
        self.taken.add(host.pk)
        self.members += 1


def seating_of(
    account: Account, wish: Wish, region: Region | None = None
) -> Seating | None:
    """Lock the account's group and return it with its members' hosts; None: there is none.

    region: where it must be. Two queries.
    """
    rows = PlacementGroup.objects.filter(pk=wish.group_id, account=account)
    if region is not None:
        rows = rows.filter(region=region)
    group = rows.select_for_update(no_key=True).first()
    if group is None:
        return None
    hosts = list(group.members.values_list("host_id", flat=True))
    keeps_apart = group.policy == PlacementPolicy.STRICT or wish.compliant_only
    return Seating(group, set(hosts), len(hosts), keeps_apart)


def seating_for_launch(account: Account, wish: Wish, region: Region) -> Seating:
    """Lock the group that a launch names; it has room for one more.

    Raises InvalidRequest.
    """
    seating = seating_of(account, wish, region)
    problem = UNKNOWN if seating is None else seating.room_problem(1)
    if seating is None or problem is not None:
        raise InvalidRequest([(GROUP_FIELD, problem or UNKNOWN)])
    return seating


def wish_problem(account: Account, wish: Wish, region: Region | None) -> str | None:
    """Return what is wrong with a launch's wish, as far as can be seen without a lock."""
    group = PlacementGroup.objects.filter(account=account, pk=wish.group_id).first()
    if group is None:
        return UNKNOWN
    if region is not None and group.region_id != region.pk:
        return f"Placement group {group.label} is in another region"
    return None


def members() -> QuerySet[PlacementMember]:
    """Return all members, oldest first, each with is_compliant: first of its group there."""
    before = PlacementMember.objects.filter(
        group=OuterRef("group"), host=OuterRef("host"), pk__lt=OuterRef("pk")
    )
    return PlacementMember.objects.annotate(is_compliant=~Exists(before)).order_by("pk")


def groups_of(account: Account) -> QuerySet[PlacementGroup]:
    """Return the account's groups, oldest first, with region and members."""
    return (
        PlacementGroup.objects.filter(account=account)
        .select_related("region")
        .prefetch_related(Prefetch("members", members()))
        .order_by("pk")
    )
