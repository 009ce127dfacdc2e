"""Which hosts accept no claims, and why."""

from typing import Any

from django.db.models import (
    Case,
    CharField,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from inventory.choices import HostConnection, HostPolicy
from inventory.models import Host, Region
from inventory.snapshots import is_answering, is_unblocked

NOT_LOOKED_AT, BLOCKED = "not_looked_at", "blocked"
# Reasons that tell more with the time since the host was last seen.
WITH_AGE = frozenset({NOT_LOOKED_AT, HostConnection.STALE, HostConnection.UNKNOWN})


def closed_hosts(region: Region) -> QuerySet[Any]:
    """Return the region's hosts that accept no claims, but for the retired.

    Each with `why`, the gravest reason (why_text() says it); `faults`, how many of policy,
    connection and alerts keep it closed; and `silent_for`, since when nobody saw it.
    """
    serves = Q(policy=HostPolicy.IN_SERVICE)
    tests = (serves, is_answering(), is_unblocked())
    faults = [
        Case(When(test, then=0), default=1, output_field=IntegerField())
        for test in tests
    ]
    return (
        Host.objects.filter(region=region)
        .exclude(policy=HostPolicy.RETIRED)
        .annotate(
            faults=faults[0] + faults[1] + faults[2],
            why=_why(),
            silent_for=ExpressionWrapper(
                Now() - Coalesce(F("last_seen_at"), F("enrolled_at")),
                output_field=DurationField(),
            ),
        )
        .filter(faults__gt=0)
    )


def why_text(why: str) -> str:
    """Return one of the reasons of closed_hosts() as people say it."""
    if why == NOT_LOOKED_AT:
        return _("not looked at")
    if why == BLOCKED:
        return _("blocked by an alert or a discrepancy")
    return str(dict(HostPolicy.choices + HostConnection.choices)[why])


def _why() -> Case:
    policies = [policy for policy in HostPolicy if policy != HostPolicy.IN_SERVICE]
    connections = [each for each in HostConnection if each != HostConnection.OK]
    return Case(
        *(When(policy=each, then=Value(each.value)) for each in policies),
        *(When(connection=each, then=Value(each.value)) for each in connections),
        When(~is_answering(), then=Value(NOT_LOOKED_AT)),
        default=Value(BLOCKED),
        output_field=CharField(),
    )
