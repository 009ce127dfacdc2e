"""Say what the lives of accounts and instances are made of, for inventory.timeline."""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Concat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from flags.models import BetaEnrolment, FlagChange
from instances.choices import (
    EntityType,
    JobKind,
    JobState,
    Phase,
    ReservationState,
    TrialEnd,
    WaitState,
    Workload,
)
from instances.models import (
    Account,
    ApiToken,
    Event,
    Instance,
    InstanceFeedback,
    Invoice,
    Job,
    RefusedDemand,
    Reservation,
    Trial,
    UsageInterval,
    WaitlistEntry,
)
from inventory.choices import CardEventKind
from inventory.models import CardEvent, Discrepancy
from inventory.timeline import Source, by_hand, observed

May = Callable[[str], bool]


def account_sources(account: Account, may: May) -> list[Source]:
    """Return what an account's life is made of, of that what the reader may see.

    may: whether somebody has a permission, such as "instances.view_apitoken".
    """
    this = Account.objects.filter(pk=account.pk)
    sources = [Source(this, "created_at", lambda: _("Account made")), by_hand(account)]
    for permission, sources_of, model in _OF_ACCOUNT:
        if may(permission):
            sources += sources_of(model.objects.filter(account=account))
    if may("instances.view_usageinterval"):
        sources += _usage(UsageInterval.objects.filter(instance__account=account))
    if may("flags.view_flag"):
        sources += _flags(account)
    return sources


def instance_sources(instance: Instance, may: May) -> list[Source]:
    """Return what an instance's life is made of, of that what the reader may see."""
    events = Event.objects.filter(
        account=instance.account_id,
        entity_type=EntityType.LINODE,
        entity_id=instance.pk,
    )
    sources = [*_instances(Instance.objects.filter(pk=instance.pk)), by_hand(instance)]
    if may("instances.view_job"):
        sources += _jobs(Job.objects.filter(instance=instance))
    if may("instances.view_event"):
        sources += _events(events)
    if may("instances.view_usageinterval"):
        sources += _usage(UsageInterval.objects.filter(instance=instance))
    if may("instances.view_instancefeedback"):
        sources += _feedback(InstanceFeedback.objects.filter(instance=instance))
    if may("inventory.view_card"):
        sources += _cards(CardEvent.objects.filter(consumer=instance.uuid))
    if may("inventory.view_discrepancy"):
        sources += observed(Discrepancy.objects.filter(consumer=instance.uuid))
    return sources


def _instances(rows: QuerySet[Instance]) -> Iterable[Source]:
    yield Source(
        rows,
        "created_at",
        lambda label, plan, region: (
            _("%(label)s: launched as %(plan)s in %(region)s")
            % {"label": label, "plan": plan, "region": region}
        ),
        ("label", "plan__slug", "region__slug"),
        who="created_by",
        page="instances.instance",
    )
    yield Source(
        rows,
        "ended_at",
        lambda label, phase: f"{label}: {Phase(phase).label}",
        ("label", "phase"),
        page="instances.instance",
    )


def _reservations(rows: QuerySet[Reservation]) -> Iterable[Source]:
    yield Source(
        rows,
        "created_at",
        lambda pk, plan, region: (
            _("Reservation %(pk)s: %(plan)s in %(region)s")
            % {"pk": pk, "plan": plan, "region": region}
        ),
        ("pk", "plan__slug", "region__slug"),
        who="created_by",
        page="instances.reservation",
    )
    yield Source(
        rows,
        "ended_at",
        lambda pk, state: (
            _("Reservation %(pk)s: %(state)s")
            % {"pk": pk, "state": ReservationState(state).label}
        ),
        ("pk", "state"),
        page="instances.reservation",
    )


def _waits(rows: QuerySet[WaitlistEntry]) -> Iterable[Source]:
    yield Source(
        rows,
        "created_at",
        lambda plan, region: (
            _("Waits for %(plan)s in %(region)s") % {"plan": plan, "region": region}
        ),
        ("plan__slug", "region__slug"),
        who="created_by",
        page="instances.waitlistentry",
    )
    yield Source(
        rows,
        "ended_at",
        lambda plan, region, state: (
            _("Waited for %(plan)s in %(region)s: %(state)s")
            % {"plan": plan, "region": region, "state": WaitState(state).label}
        ),
        ("plan__slug", "region__slug", "state"),
        page="instances.waitlistentry",
    )


def _usage(rows: QuerySet[UsageInterval]) -> Iterable[Source]:
    """Return when use began, at what price, and when it ended."""
    yield Source(
        rows,
        "starts_at",
        lambda label, plan, price, is_billed: (
            (
                _("%(label)s: use of %(plan)s begins, $ %(price)s an hour")
                if is_billed
                else _(
                    "%(label)s: use of %(plan)s begins, $ %(price)s an hour, not billed"
                )
            )
            % {"label": label, "plan": plan, "price": price}
        ),
        ("instance__label", "plan__slug", "price_hourly", "is_billed"),
        page="instances.usageinterval",
    )
    yield Source(
        rows,
        "ends_at",
        lambda label, plan: (
            _("%(label)s: use of %(plan)s ends") % {"label": label, "plan": plan}
        ),
        ("instance__label", "plan__slug"),
        page="instances.usageinterval",
    )


def _feedback(rows: QuerySet[InstanceFeedback]) -> Iterable[Source]:
    yield Source(
        rows,
        "updated_at",
        lambda workload: _("Feedback: {workload}").format(
            workload=Workload(workload).label
        ),
        ("workload",),
        who="written_by",
        page="instances.instancefeedback",
    )


def _trials(rows: QuerySet[Trial]) -> Iterable[Source]:
    yield Source(
        rows,
        "starts_at",
        lambda pk, cards, hours: _(
            "Trial {pk}: granted, {cards} cards, {hours} card hours"
        ).format(pk=pk, cards=cards, hours=hours),
        ("pk", "cards", "card_hours"),
        why="reason",
        who="granted_by",
        page="instances.trial",
    )
    yield Source(
        rows,
        "ended_at",
        lambda pk, reason: _("Trial {pk}: ended, {why}").format(
            pk=pk, why=TrialEnd(reason).label
        ),
        ("pk", "end_reason"),
        why="end_remark",
        who="ended_by",
        page="instances.trial",
    )


def _tokens(rows: QuerySet[ApiToken]) -> Iterable[Source]:
    """Return when tokens were issued and revoked: label and first characters, no secret."""
    for at, told, who in (
        (
            "created_at",
            gettext_noop("API token issued: %(label)s (%(prefix)s…)"),
            _user("user__username"),
        ),
        (
            "revoked_at",
            gettext_noop("API token revoked: %(label)s (%(prefix)s…)"),
            Value(""),
        ),
    ):
        yield Source(
            rows,
            at,
            lambda label, prefix, told=told: (
                _(told) % {"label": label, "prefix": prefix}
            ),
            ("label", "prefix"),
            who=who,
            page="instances.apitoken",
        )


def _refusals(rows: QuerySet[RefusedDemand]) -> Iterable[Source]:
    yield Source(
        rows,
        "at",
        lambda plan, region, reason: (
            _("Refused: %(plan)s in %(region)s, %(reason)s")
            % {
                "plan": plan,
                "region": region,
                "reason": RefusedDemand.Reason(reason).label,
            }
        ),
        ("plan__slug", "region__slug", "reason"),
        page="instances.refuseddemand",
    )


def _invoices(rows: QuerySet[Invoice]) -> Iterable[Source]:
    yield Source(
        rows,
        "issued_at",
        lambda label, total: (
            _("Invoice %(label)s: $ %(total)s") % {"label": label, "total": total}
        ),
        ("label", "total"),
        page="instances.invoice",
    )


def _betas(rows: QuerySet[BetaEnrolment]) -> Iterable[Source]:
    yield Source(
        rows,
        "enrolled_at",
        lambda label: _("Enrolled in the beta %(label)s") % {"label": label},
        ("beta__label",),
        who="enrolled_by",
        page="flags.betaenrolment",
    )


def _flags(account: Account) -> Iterable[Source]:
    """Return when the account itself was put on a flag's list, and taken off."""
    before = Q(before__accounts__contains=[account.pk])
    after = Q(after__accounts__contains=[account.pk])
    for rows, told in (
        (
            after & ~before,
            gettext_noop("Flag %(name)s: opened to this account by name"),
        ),
        (before & ~after, gettext_noop("Flag %(name)s: shut for this account by name")),
    ):
        yield Source(
            FlagChange.objects.filter(rows),
            "at",
            lambda name, told=told: _(told) % {"name": name},
            ("flag__name",),
            why="reason",
            who="by",
            page="flags.flag",
            page_id="flag_id",
        )


def _jobs(rows: QuerySet[Job]) -> Iterable[Source]:
    yield Source(
        rows,
        "finished_at",
        lambda kind, state: (
            _("Job: %(kind)s %(state)s")
            % {"kind": JobKind(kind).label, "state": JobState(state).label}
        ),
        ("kind", "state"),
        why="public_message",
        who="actor",
        page="instances.job",
    )


def _events(rows: QuerySet[Event]) -> Iterable[Source]:
    yield Source(
        rows,
        "created_at",
        lambda action, status: (
            _("Customer's event: %(action)s, %(status)s")
            % {"action": action, "status": status}
        ),
        ("action", "status"),
        why="message",
        who=_user("username"),
        page="instances.event",
    )


def _cards(rows: QuerySet[CardEvent]) -> Iterable[Source]:
    yield Source(
        rows,
        "at",
        lambda kind, host, slot: (
            _("Card %(host)s %(slot)s: %(kind)s")
            % {"host": host, "slot": slot, "kind": CardEventKind(kind).label}
        ),
        ("kind", "card__host__name", "card__slot_path"),
        why="reason",
        who="actor",
        page="inventory.card",
        page_id="card_id",
    )


def _user(column: str) -> Any:
    """Return the name in a column as ledger and jobs write people: user:NAME."""
    return Concat(Value("user:"), column)


# (permission to see the rows, what they tell, whose rows), all with an `account`.
_OF_ACCOUNT: tuple[
    tuple[str, Callable[[QuerySet[Any]], Iterable[Source]], type[Any]], ...
] = (
    ("instances.view_instance", _instances, Instance),
    ("instances.view_reservation", _reservations, Reservation),
    ("instances.view_waitlistentry", _waits, WaitlistEntry),
    ("instances.view_trial", _trials, Trial),
    ("instances.view_apitoken", _tokens, ApiToken),
    ("instances.view_refuseddemand", _refusals, RefusedDemand),
    ("instances.view_invoice", _invoices, Invoice),
    ("flags.view_betaenrolment", _betas, BetaEnrolment),
)
