"""Give a guest of ours its rows back that a restored database lost, at a person's word.

The host is asked for the guest first; then one transaction makes instance, claims, address,
ledger and usage, and compares them with what the guest runs with. Nothing of the guest is
touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from instances.choices import (
    ENDED_JOB_STATES,
    REST_PHASES,
    Desired,
    Phase,
    ReservationState,
)
from instances.domain_record import DomainRecord, HeldNode, InstanceRecord
from instances.domain_xml import differences
from instances.exceptions import CannotAdopt
from instances.holds import let_go
from instances.instance_names import label_problem
from instances.jobs.subjects import Connector
from instances.lifecycle import advance, is_at_work, want
from instances.lost_guests import LostGuest, ask_for, held_by, is_being_shut
from instances.models import Account, Image, Instance, Job, Plan, Reservation
from instances.selectors import spec_of
from instances.usage import begin_usage, change_usage
from inventory import ledger
from inventory.address_claims import adopt_address
from inventory.addresses import address_of
from inventory.choices import CardCondition, HostPolicy
from inventory.exceptions import NoAddress, NotClaimable
from inventory.ledger import Actor, change_condition, lock_host
from inventory.models import Card, CardClaim, Host
from inventory.snapshots import is_answering
from inventory.topology import NodeShare

_REASON_CHARS = 500
_IN_WORK = (CardCondition.SANITISING, CardCondition.TESTING)
_NOT_THERE = (CardCondition.MISSING, CardCondition.RETIRED)


@dataclass(frozen=True, slots=True)
class AdoptOrder:
    """Which guest on which host. actor: user:NAME.

    account: whose it is, where the account that its domain names is not known here.
    """

    host_id: int
    uuid: UUID
    actor: str
    reason: str
    account: Account | None = None

    @property
    def why(self) -> Actor:
        return Actor(self.actor, f"adopted: {self.reason}"[:_REASON_CHARS])


def adopt(order: AdoptOrder, connect_to: Connector | None = None) -> Instance:
    """Return the guest's instance, which has all that the guest has from now on.

    Of a guest that was resized or rebuilt, or whose launch the restored rows do not know to
    have ended, the instance that is there. Raises CannotAdopt with what to do; then nothing
    has changed. Blocks up to the driver's deadlines.
    """
    host = Host.objects.get(pk=order.host_id)
    guest = ask_for(host, order.uuid, connect_to)
    if not isinstance(guest.record, DomainRecord):
        raise CannotAdopt(
            f"The metadata of domain {order.uuid} cannot be read: {guest.record.why}. Shut "
            "it, or put its metadata right on the host with virsh."
        )
    if guest.record.instance.uuid not in (None, order.uuid):
        raise CannotAdopt(
            f"Domain {order.uuid} tells of another instance, {guest.record.instance.uuid}: "
            "it is a copy that somebody made. Shut it."
        )
    try:
        with transaction.atomic():
            host = lock_host(host.pk)
            _need_fresh(host, order)
            instance = _adopt(host, guest, guest.record, order)
            _need_agreement(instance, guest)
    except NotClaimable as error:
        raise CannotAdopt(f"Somebody else holds what the guest has: {error}") from error
    except NoAddress as error:
        raise CannotAdopt(
            f"Its address {_address(guest)} is in no pool for {host}, or another instance "
            "has it: make the pool, or delete that instance."
        ) from error
    except IntegrityError as error:
        raise CannotAdopt(f"The database refuses it: {error}") from error
    return instance


def _need_fresh(host: Host, order: AdoptOrder) -> None:
    answers = Host.objects.filter(is_answering(), pk=host.pk).exists()
    if host.policy == HostPolicy.RETIRED or not answers:
        raise CannotAdopt(
            f"{host} was not compared with its rows just now: look again."
        )
    if is_being_shut(host, order.uuid):
        raise CannotAdopt("This guest is being shut.")


def _need_agreement(instance: Instance, guest: LostGuest) -> None:
    spec = spec_of(instance)
    found = ["nothing is held"] if spec is None else differences(spec, guest.live)
    if found:
        raise CannotAdopt(
            "The guest does not run with what its metadata tells: " + "; ".join(found)
        )


def _adopt(
    host: Host, guest: LostGuest, record: DomainRecord, order: AdoptOrder
) -> Instance:
    known = (
        Instance.objects.select_for_update(of=("self",))
        .select_related("account", "plan", "region", "image")
        .filter(uuid=guest.uuid)
        .first()
    )
    if known is None:
        return _make(host, guest, record, order)
    if known.is_ended:
        raise CannotAdopt(f"{known} is over: shut its guest.")
    if is_at_work(known):
        raise CannotAdopt(f"A job is at work on {known}: wait for its end.")
    if known.ready_at is None:
        _end_launch(known, guest)
    elif not _follow(host, known, guest, record, order):
        raise CannotAdopt(f"{known} has its rows already.")
    known.refresh_from_db()
    return known


def _make(
    host: Host, guest: LostGuest, record: DomainRecord, order: AdoptOrder
) -> Instance:
    told = record.instance
    account = _account(told, order.account)
    taken = Instance.objects.filter(pk=told.number).first()
    if taken is not None:
        # The domain's name has the number, and libvirt renames none.
        raise CannotAdopt(
            f"Its number {told.number} was given to {taken} since: `manage.py "
            "after_restore` prevents that, and was not run in time. Shut it."
        )
    hold = Reservation.objects.filter(uuid=guest.uuid, state=ReservationState.ACTIVE)
    for pk in hold.values_list("pk", flat=True):
        let_go(pk, ReservationState.USED, order.why)
    plan, image = _plan(told), _image(told)
    since = ledger.adopt(
        host,
        _shares(host, held_by(guest, host), order),
        guest.uuid,
        order.why,
        claim_set=told.claim_set,
    )
    address = _address(guest)
    if address is not None:
        adopt_address(host, guest.uuid, address)
    is_on = guest.state.is_on
    instance = Instance.objects.create(
        pk=told.number,
        uuid=guest.uuid,
        account=account,
        plan=plan,
        region=host.region,
        image=image,
        label=_label(told, account),
        desired=Desired.RUNNING if is_on else Desired.OFF,
        phase=Phase.RUNNING if is_on else Phase.OFFLINE,
        observed=guest.state,
        observed_at=since,
        created_by=order.actor,
        ready_at=since,
        claim_set=told.claim_set,
        generation=told.generation,
    )
    _pass_number(told.number)
    begin_usage(instance.pk)
    return instance


def _account(told: InstanceRecord, chosen: Account | None) -> Account:
    named = (
        Account.objects.filter(uuid=told.account_uuid).first()
        if told.account_uuid
        else None
    )
    if named and chosen and named != chosen:
        raise CannotAdopt(f"account: its domain says that it is {named}'s.")
    account = named or chosen
    if account is None:
        raise CannotAdopt(
            f"account: the guest's own ({told.account_uuid or told.account_number}) is not "
            "known here. Make it anew if it was lost, and name it."
        )
    return account


def _plan(told: InstanceRecord) -> Plan:
    plan = Plan.objects.filter(slug=told.plan).first()
    if plan is None:
        raise CannotAdopt(f"There is no plan {told.plan}: load the catalogue.")
    return plan


def _image(told: InstanceRecord) -> Image:
    image = Image.objects.filter(slug=told.image).first()
    if image is None:
        raise CannotAdopt(f"There is no image {told.image}: load the catalogue.")
    return image


def _label(told: InstanceRecord, account: Account) -> str:
    """Return its own label, or another where it has none or the account used it again."""
    label = told.label or f"linode{told.number}"
    if label_problem(account, label) is None:
        return label
    return f"adopted-{told.number}"


def _address(guest: LostGuest) -> str | None:
    addresses = [found for mac in guest.live.macs if (found := address_of(mac))]
    return addresses[0] if addresses else None


def _shares(host: Host, held: Sequence[HeldNode], order: AdoptOrder) -> list[NodeShare]:
    slots = {slot for node in held for slot in node.slots}
    cards = {
        card.slot_path: card
        for card in host.cards.filter(slot_path__in=slots).exclude(
            condition__in=_NOT_THERE
        )
    }
    if lacking := sorted(slots - set(cards)):
        raise CannotAdopt(f"The rows know no card at {', '.join(lacking)} of {host}.")
    if {node.node for node in held} - set(host.nodes.values_list("number", flat=True)):
        raise CannotAdopt(f"The rows lack a NUMA node that {host}'s guest is on.")
    for card in cards.values():
        _need_unheld(card, order)
    return [
        NodeShare(
            node=node.node,
            card_ids=tuple(cards[slot].pk for slot in node.slots),
            cpus=node.cpus,
            vcpus=node.vcpus,
            memory_mib=node.memory_mib,
            hugepage_kib=node.hugepage_kib,
        )
        for node in held
    ]


def _need_unheld(card: Card, order: AdoptOrder) -> None:
    holder = CardClaim.objects.filter(card=card, released_at=None).first()
    if holder is not None and holder.consumer != order.uuid:
        other = Instance.objects.filter(uuid=holder.consumer).first()
        raise CannotAdopt(
            f"{card} is held by {other or holder.consumer}: if that was deleted since the "
            "backup, delete it first."
        )
    if Job.objects.filter(card=card).exclude(state__in=ENDED_JOB_STATES).exists():
        raise CannotAdopt(f"A check is at work on {card}: wait for its end.")
    if card.condition in _IN_WORK:
        # No job goes on with it, and its guest has been using it.
        change_condition(card, CardCondition.DIRTY, order.why)


def _end_launch(instance: Instance, guest: LostGuest) -> None:
    """The launch that the rows tell of had ended well before they were lost."""
    is_on = guest.state.is_on
    want(instance.pk, Desired.RUNNING if is_on else Desired.OFF)
    if is_on:
        advance(instance.pk, Phase.BOOTING)
    advance(instance.pk, Phase.RUNNING if is_on else Phase.OFFLINE)


def _follow(
    host: Host,
    instance: Instance,
    guest: LostGuest,
    record: DomainRecord,
    order: AdoptOrder,
) -> bool:
    """Have the rows follow a resize or rebuild; say whether there was one."""
    told = record.instance
    if instance.phase not in REST_PHASES:
        raise CannotAdopt(f"{instance} is {instance.phase}: wait for its end.")
    is_rebuilt = told.generation > instance.generation
    if is_rebuilt:
        Instance.objects.filter(pk=instance.pk).update(
            image=_image(told), generation=told.generation
        )
    is_resized = told.claim_set > instance.claim_set
    if is_resized:
        shares = _shares(host, held_by(guest, host), order)
        plan, before = _plan(told), instance.claim_set
        ledger.adopt(host, shares, instance.uuid, order.why, claim_set=told.claim_set)
        Instance.objects.filter(pk=instance.pk).update(
            plan=plan, claim_set=told.claim_set
        )
        # What it had is proven unused: it runs with the new claims alone.
        ledger.release(instance.uuid, order.why, before)
        change_usage(instance, plan)
    return is_rebuilt or is_resized


def _pass_number(number: int) -> None:
    """Have no later instance get the number."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN nextval(s) < %s THEN setval(s, %s) END "
            "FROM pg_get_serial_sequence('instances_instance', 'id') AS s",
            [number, number],
        )
