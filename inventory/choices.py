"""Words that inventory's rows may hold, and which may follow which."""

from django.db.models import TextChoices


class HostPolicy(TextChoices):
    """What people decided about a host."""

    IN_SERVICE = "in_service", "in service"
    NO_PROVISION = "no_provision", "no new instances"
    DRAINING = "draining", "draining"
    RETIRED = "retired", "retired"


class HostConnection(TextChoices):
    """What the last attempt to reach a host showed."""

    OK = "ok", "ok"
    STALE = "stale", "stale"
    UNKNOWN = "unknown", "unknown"


class CardCondition(TextChoices):
    """What state a card is in; never whether it is used: that is the open claim."""

    UNVERIFIED = "unverified", "unverified"
    READY = "ready", "ready"
    DIRTY = "dirty", "dirty"
    SANITISING = "sanitising", "sanitising"
    TESTING = "testing", "testing"
    QUARANTINED = "quarantined", "quarantined"
    MISSING = "missing", "missing"
    RETIRED = "retired", "retired"


C = CardCondition
CARD_TRANSITIONS: dict[CardCondition, frozenset[CardCondition]] = {
    C.UNVERIFIED: frozenset({C.TESTING, C.READY, C.QUARANTINED, C.MISSING}),
    C.READY: frozenset({C.DIRTY, C.QUARANTINED, C.MISSING}),
    C.DIRTY: frozenset({C.SANITISING, C.READY, C.QUARANTINED, C.MISSING}),
    C.SANITISING: frozenset({C.TESTING, C.DIRTY, C.QUARANTINED, C.MISSING}),
    C.TESTING: frozenset({C.READY, C.DIRTY, C.QUARANTINED, C.MISSING}),
    C.QUARANTINED: frozenset({C.SANITISING, C.RETIRED, C.MISSING}),
    C.MISSING: frozenset({C.UNVERIFIED, C.QUARANTINED, C.RETIRED}),
    C.RETIRED: frozenset(),
}


# How the accounting sorts cards that nobody holds and that are not ready.
CLEANING_CONDITIONS = frozenset({C.UNVERIFIED, C.DIRTY, C.SANITISING, C.TESTING})
GONE_CONDITIONS = frozenset({C.RETIRED})


class CardEventKind(TextChoices):
    ENROLLED = "enrolled", "enrolled"
    CONDITION = "condition", "condition changed"
    CLAIMED = "claimed", "claimed"
    RELEASED = "released", "released"
