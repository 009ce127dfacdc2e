"""Words that inventory's rows may hold, and which may follow which."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class HostPolicy(TextChoices):
    """What people decided about a host."""

    IN_SERVICE = "in_service", _("in service")
    NO_PROVISION = "no_provision", _("no new instances")
    DRAINING = "draining", _("draining")
    MAINTENANCE = "maintenance", _("in maintenance")
    RETIRED = "retired", _("retired")


class HostConnection(TextChoices):
    """What the last attempt to reach a host showed."""

    OK = "ok", _("ok")
    STALE = "stale", _("stale")
    UNKNOWN = "unknown", _("unknown")


class CardCondition(TextChoices):
    """What state a card is in; never whether it is used: that is the open claim."""

    UNVERIFIED = "unverified", _("unverified")
    READY = "ready", _("ready")
    DIRTY = "dirty", _("dirty")
    SANITISING = "sanitising", _("sanitising")
    TESTING = "testing", _("testing")
    QUARANTINED = "quarantined", _("quarantined")
    MISSING = "missing", _("missing")
    RETIRED = "retired", _("retired")


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
    ENROLLED = "enrolled", _("enrolled")
    CONDITION = "condition", _("condition changed")
    CLAIMED = "claimed", _("claimed")
    HELD = "held", _("held, not used yet")
    TAKEN_UP = "taken_up", _("hold taken up")
    ADOPTED = "adopted", _("found with a guest, adopted")
    RELEASED = "released", _("released")
    MOVED = "moved", _("moved")


class CheckKind(TextChoices):
    """What a guest of ours did to a card that had no other user."""

    SANITISE = "sanitise", _("sanitised")
    TEST = "test", _("tested")


class CheckOutcome(TextChoices):
    PASSED = "passed", _("passed")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("skipped (lab setting)")


OK_OUTCOMES = (CheckOutcome.PASSED, CheckOutcome.SKIPPED)


class ReportedProblem(TextChoices):
    """What a card's user can say is wrong with it."""

    NOT_SEEN = "not_seen", _("the guest does not see it")
    ERRORS = "errors", _("the driver reports errors")
    MEMORY = "memory", _("memory errors")
    SLOW = "slow", _("slower than it should be")
    OTHER = "other", _("something else")


class DiscrepancyKind(TextChoices):
    """How a host can differ from our rows."""

    STRAY_DOMAIN = "stray_domain", _("domain without instance")
    UNKNOWN_GUEST = "unknown_guest", _("guest of ours without instance")
    GUEST_CHANGED = (
        "guest_changed",
        _("guest changed since its rows were written"),
    )
    DOMAIN_MISSING = "domain_missing", _("instance without domain")
    DOMAIN_OFF = "domain_off", _("domain that should run does not")
    DOMAIN_ON = "domain_on", _("domain that should be off runs")
    UNCLAIMED_HOSTDEV = (
        "unclaimed_hostdev",
        _("card passed through that nobody claimed"),
    )
    HOSTDEV_MISSING = "hostdev_missing", _("claimed card missing from the domain")
    CARD_IN_TWO_DOMAINS = "card_in_two_domains", _("one card in two domains")
    CLAIM_UNUSED = "claim_unused", _("claim without a live instance")
    CPUS_DIFFER = "cpus_differ", _("CPU pinning differs from the claim")
    MEMORY_DIFFERS = "memory_differs", _("memory differs from the claim")
    CARD_VANISHED = "card_vanished", _("card no longer listed")
    CARD_NEW = "card_new", _("new card")
    CARD_REPLACED = "card_replaced", _("another card in the slot")
    CARD_MOVED = "card_moved", _("known card at another address")
    CARD_UNSELLABLE = "card_unsellable", _("card that cannot be sold")
    NUMA_CHANGED = "numa_changed", _("NUMA node changed")
    GROUP_CHANGED = "group_changed", _("IOMMU group changed")
    DRIVER_CHANGED = "driver_changed", _("driver changed")
    FUNCTIONS_CHANGED = "functions_changed", _("PCI functions changed")
    BOOT_CHANGED = "boot_changed", _("host has booted anew")
    HOST_CHANGED = "host_changed", _("host lost CPUs, nodes or memory")
    HOST_REPLACED = "host_replaced", _("another host answers at this address")


class AlertClass(TextChoices):
    """What an alert does: the first takes its subject out of sellable."""

    PREVENTS_CLAIMS = "prevents-claims", _("prevents claims")
    WARNING = "warning", _("warning")


class NetworkKind(TextChoices):
    """What guests' network cards hang on (libvirt formatdomain "interface")."""

    NETWORK = "network", _("libvirt network")
    BRIDGE = "bridge", _("bridge of the host")
