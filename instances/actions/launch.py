"""Launch an instance: flag, placement, claim, rows and job in one transaction."""

import hashlib
import json
from dataclasses import dataclass, field
from uuid import uuid4

from django.db import IntegrityError, transaction

from instances.actions.firewalls import UNKNOWN, attach_new
from instances.actions.guest_settings import (
    GuestSettings,
    disk_problems,
    keep,
    problems_of,
)
from instances.actions.placement_groups import tell
from instances.actions.refused import refusals_noted
from instances.actions.sale import offer
from instances.choices import Desired, EventAction, ImageStatus, JobKind
from instances.claiming import claim_capacity
from instances.exceptions import InvalidRequest, NoCapacity
from instances.gates import hold_gates
from instances.holds import locked_for_use, use
from instances.idempotency import made_before
from instances.instance_names import (
    LABEL_TAKEN,
    label_is_taken,
    label_problem,
    tags_problem,
)
from instances.jobs import runner
from instances.jobs.deadlines import deadline_s
from instances.models import Account, Firewall, Image, Instance, Plan
from instances.placement import NoFit
from instances.placement_groups import (
    GROUP_FIELD,
    Seating,
    Wish,
    seating_for_launch,
    wish_problem,
)
from instances.quotas import check_quota
from instances.selectors import host_of, request_of
from instances.tasks import enqueue_job
from instances.trials import admit
from inventory.address_claims import claim_address
from inventory.exceptions import NoAddress
from inventory.ledger import Actor
from inventory.models import Region
from inventory.models.guest_setup import setup_of


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """What was asked for, unchecked. actor: user:NAME; username: as events show it.

    plan, region, image: slugs. reservation: the id of one that is to be used. firewall: the
    id of one that it is to be on. group: a placement group to be in. booted: False for
    a machine that is made and left off. idempotency_key: a repeat with the same key and
    content returns the first instance.
    """

    account: Account
    plan: str
    region: str
    image: str
    actor: str
    username: str
    label: str = ""
    tags: tuple[str, ...] = ()
    reservation: int | None = None
    firewall: int | None = None
    group: Wish | None = None
    booted: bool = True
    idempotency_key: str = ""
    settings: GuestSettings = field(default_factory=GuestSettings)

    @property
    def digest(self) -> str:
        body: list[object] = [self.plan, self.region, self.image, self.label]
        body.append(list(self.tags))
        if self.reservation is not None:
            body.append(self.reservation)
        if self.firewall is not None:
            body.append({"firewall": self.firewall})
        if self.group is not None:
            body.append({"placement_group": self.group.identity})
        if not self.booted:
            body.append({"booted": False})
        body += self.settings.identity
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def launch(order: LaunchOrder) -> Instance:
    """Launch what `order` asks for, once per idempotency key.

    Raises InvalidRequest (every wrong field), QuotaExceeded, NoCapacity or
    IdempotencyConflict; then nothing was claimed or written.
    """
    repeated = _repeated(order)
    if repeated is not None:
        return repeated
    try:
        with (
            refusals_noted(order.account, order.plan, order.region),
            transaction.atomic(),
        ):
            return _launch(order)
    except InvalidRequest:
        # Another request with this key may have used the reservation, or taken the
        # group's last seat, meanwhile.
        is_scarce = order.reservation is not None or order.group is not None
        repeated = _repeated(order) if is_scarce else None
        if repeated is None:
            raise
        return repeated
    except IntegrityError:
        # Another request with this key, or this label, committed first.
        repeated = _repeated(order)
        if repeated is not None:
            return repeated
        if not label_is_taken(order.account, order.label):
            raise
        raise InvalidRequest([("label", LABEL_TAKEN)]) from None


def _repeated(order: LaunchOrder) -> Instance | None:
    return made_before(order, Instance.objects.all())


def _launch(order: LaunchOrder) -> Instance:
    hold_gates()
    plan, region, image = check(order)
    # Before the row: an instance takes the UUID of the reservation that it uses.
    reservation = (
        locked_for_use(order.reservation, order.account, plan, region)
        if order.reservation is not None
        else None
    )
    seating = (
        seating_for_launch(order.account, order.group, region) if order.group else None
    )
    instance = Instance(
        uuid=reservation.uuid if reservation else uuid4(),
        account=order.account,
        plan=plan,
        region=region,
        image=image,
        tags=list(order.tags),
        desired=Desired.RUNNING if order.booted else Desired.OFF,
        created_by=order.actor,
        idempotency_key=order.idempotency_key,
        request_digest=order.digest,
        has_user_data=bool(order.settings.user_data),
    )
    instance.label = order.label or f"new-{instance.uuid}"
    # Before the claim: a repeat waits here for the first and takes no card meanwhile.
    instance.save()
    if not order.label:
        instance.label = f"linode{instance.pk}"
        instance.save(update_fields=["label"])
    if trial := admit(order.account, plan):
        instance.trial = trial
        instance.save(update_fields=["trial"])
    why = Actor(order.actor, f"launch of {instance.label} for {order.account.name}")
    if reservation is not None:
        use(reservation, instance, why)
    else:
        _claim(instance, why, seating)
    if seating is not None:
        # A claim made just now keeps apart already; a reservation is where it is.
        seating.seat(instance, "reservation", "What this reservation holds")
        tell(
            seating.group, EventAction.PLACEMENT_GROUP_ASSIGN, order.username, instance
        )
    if order.firewall is not None:
        attach_new(instance, order.firewall)
    if image.is_disk:
        keep(order.settings, instance)
        _give_address(instance)
    job = runner.create(
        JobKind.LAUNCH if order.booted else JobKind.LAUNCH_OFF,
        instance,
        order.actor,
        order.username,
        deadline_s=deadline_s(plan),
    )
    enqueue_job(job.pk)
    return instance


def _claim(instance: Instance, why: Actor, seating: Seating | None) -> None:
    plan, region = instance.plan, instance.region
    if instance.trial_id is None:
        check_quota(instance.account, plan)
    if seating is not None:
        seating.claim(instance, why)
        return
    placed = claim_capacity(request_of(plan), region, instance.uuid, why)
    if isinstance(placed, NoFit):
        raise NoCapacity.of(plan.cards, plan.slug, region.slug, placed)


def _give_address(instance: Instance) -> None:
    # Of the claims, however they came about: made just now, or taken up from a hold.
    host = host_of(instance)
    if host is None or not setup_of(host).network_name:
        return
    try:
        claim_address(host, instance.uuid)
    except NoAddress as error:
        plan, region = instance.plan.slug, instance.region.slug
        raise NoCapacity("IPv4 address", plan, region, NoFit(), str(error)) from error


def check(order: LaunchOrder) -> tuple[Plan, Region, Image]:
    """Return the rows that the slugs name, launching nothing.

    Raises InvalidRequest with every error. At most six queries.
    """
    offered = offer(order.plan, order.region, order.account)
    plan, region, errors = offered.plan, offered.region, list(offered.errors)
    image = Image.objects.filter(
        slug=order.image, status=ImageStatus.AVAILABLE, is_offered=True
    ).first()
    if image is None:
        errors.append(("image", "image is not valid"))
    if order.label and (problem := label_problem(order.account, order.label)):
        errors.append(("label", problem))
    if problem := tags_problem(order.tags):
        errors.append(("tags", problem))
    errors += disk_problems(plan, image)
    errors += problems_of(order.settings, order.account, image)
    if order.firewall is not None:
        firewalls = Firewall.objects.filter(account=order.account, pk=order.firewall)
        if not firewalls.exists():
            errors.append(("firewall_id", UNKNOWN))
    if order.group is not None and (
        problem := wish_problem(order.account, order.group, region)
    ):
        errors.append((GROUP_FIELD, problem))
    if errors or plan is None or region is None or image is None:
        raise offered.refusal(errors)
    return plan, region, image
