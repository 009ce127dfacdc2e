"""Words that inventory's rows may hold, and which may follow which."""

from django.db.models import TextChoices


class HostPolicy(TextChoices):
    """What people decided about a host."""

    IN_SERVICE = "in_service", "in service"
    NO_PROVISION = "no_provision", "no new instances"
    DRAINING = "draining", "draining"
    MAINTENANCE = "maintenance", "in maintenance"
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
# A card becomes ready by a test only, and a dirty one is tested only once sanitised; the
# database holds the same table and asks for the proof (migration life_cycle_guards).
CARD_TRANSITIONS: dict[CardCondition, frozenset[CardCondition]] = {
    # To dirty: somebody may have used it of whom nothing is known.
    C.UNVERIFIED: frozenset(
        {C.TESTING, C.SANITISING, C.DIRTY, C.QUARANTINED, C.MISSING}
    ),
    C.READY: frozenset({C.DIRTY, C.UNVERIFIED, C.QUARANTINED, C.MISSING}),
    C.DIRTY: frozenset({C.SANITISING, C.QUARANTINED, C.MISSING}),
    C.SANITISING: frozenset({C.TESTING, C.DIRTY, C.QUARANTINED, C.MISSING}),
    C.TESTING: frozenset({C.READY, C.DIRTY, C.UNVERIFIED, C.QUARANTINED, C.MISSING}),
    C.QUARANTINED: frozenset({C.SANITISING, C.RETIRED, C.MISSING}),
    C.MISSING: frozenset({C.UNVERIFIED, C.DIRTY, C.QUARANTINED, C.RETIRED}),
    C.RETIRED: frozenset(),
}


# How the accounting sorts cards that nobody holds and that are not ready.
CLEANING_CONDITIONS = frozenset({C.UNVERIFIED, C.DIRTY, C.SANITISING, C.TESTING})
GONE_CONDITIONS = frozenset({C.RETIRED})


class CardEventKind(TextChoices):
    ENROLLED = "enrolled", "enrolled"
    CONDITION = "condition", "condition changed"
    CLAIMED = "claimed", "claimed"
    HELD = "held", "held, not used yet"
    TAKEN_UP = "taken_up", "hold taken up"
    ADOPTED = "adopted", "found with a guest, adopted"
    RELEASED = "released", "released"
    MOVED = "moved", "moved"


class CheckKind(TextChoices):
    """What a guest of ours did to a card that had no other user."""

    SANITISE = "sanitise", "sanitised"
    TEST = "test", "tested"


class CheckOutcome(TextChoices):
    PASSED = "passed", "passed"
    FAILED = "failed", "failed"
    SKIPPED = "skipped", "skipped (lab setting)"


OK_OUTCOMES = (CheckOutcome.PASSED, CheckOutcome.SKIPPED)


class ReportedProblem(TextChoices):
    """What a card's user can say is wrong with it."""

    NOT_SEEN = "not_seen", "the guest does not see it"
    ERRORS = "errors", "the driver reports errors"
    MEMORY = "memory", "memory errors"
    SLOW = "slow", "slower than it should be"
    OTHER = "other", "something else"


class DiscrepancyKind(TextChoices):
    """How a host can differ from our rows."""

    STRAY_DOMAIN = "stray_domain", "domain without instance"
    UNKNOWN_GUEST = "unknown_guest", "guest of ours without instance"
    GUEST_CHANGED = "guest_changed", "guest changed since its rows were written"
    DOMAIN_MISSING = "domain_missing", "instance without domain"
    DOMAIN_OFF = "domain_off", "domain that should run does not"
    DOMAIN_ON = "domain_on", "domain that should be off runs"
    UNCLAIMED_HOSTDEV = "unclaimed_hostdev", "card passed through that nobody claimed"
    HOSTDEV_MISSING = "hostdev_missing", "claimed card missing from the domain"
    CARD_IN_TWO_DOMAINS = "card_in_two_domains", "one card in two domains"
    CLAIM_UNUSED = "claim_unused", "claim without a live instance"
    CPUS_DIFFER = "cpus_differ", "CPU pinning differs from the claim"
    MEMORY_DIFFERS = "memory_differs", "memory differs from the claim"
    CARD_VANISHED = "card_vanished", "card no longer listed"
    CARD_NEW = "card_new", "new card"
    CARD_REPLACED = "card_replaced", "another card in the slot"
    CARD_MOVED = "card_moved", "known card at another address"
    CARD_UNSELLABLE = "card_unsellable", "card that cannot be sold"
    NUMA_CHANGED = "numa_changed", "NUMA node changed"
    GROUP_CHANGED = "group_changed", "IOMMU group changed"
    DRIVER_CHANGED = "driver_changed", "driver changed"
    FUNCTIONS_CHANGED = "functions_changed", "PCI functions changed"
    BOOT_CHANGED = "boot_changed", "host has booted anew"
    HOST_CHANGED = "host_changed", "host lost CPUs, nodes or memory"
    HOST_REPLACED = "host_replaced", "another host answers at this address"


class AlertClass(TextChoices):
    """What an alert does: the first takes its subject out of sellable."""

    PREVENTS_CLAIMS = "prevents-claims", "prevents claims"
    WARNING = "warning", "warning"


class NetworkKind(TextChoices):
    """What guests' network cards hang on (libvirt formatdomain "interface")."""

    NETWORK = "network", "libvirt network"
    BRIDGE = "bridge", "bridge of the host"
