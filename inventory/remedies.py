"""What people do about each kind of discrepancy, in a sentence or two; pure."""

from inventory.choices import DiscrepancyKind
from inventory.words import msgid, say

K = DiscrepancyKind
_REMEDIES: dict[DiscrepancyKind, str] = {
    K.STRAY_DOMAIN: msgid(
        "A check guest of ours can be removed here. Any other domain is somebody's: find "
        "out whose, and remove it on the host with virsh."
    ),
    K.UNKNOWN_GUEST: msgid(
        "A guest of ours runs that the database does not know: it was launched after the "
        "backup that the database was restored from. Adopt it, which gives it back its "
        "instance, claims and address; or shut it. Until then its host sells nothing."
    ),
    K.GUEST_CHANGED: msgid(
        "The guest was resized or rebuilt after the backup that the database was restored "
        "from. Adopt the change: the instance gets the plan and claims that its guest has."
    ),
    K.DOMAIN_MISSING: msgid(
        "The instance's machine is gone from the host. If the database was restored from a "
        "backup, it was deleted since. If not, ask whether somebody removed it by hand. "
        "Then delete the instance, which releases its cards."
    ),
    K.DOMAIN_OFF: msgid(
        "The guest crashed or was unplugged on its host, and nothing starts it again: its "
        "watchdog is off or was given up. Its cards stay held. Boot the instance."
    ),
    K.DOMAIN_ON: msgid(
        "Somebody started the guest on its host. Shut the instance down, or boot it to "
        "keep it running."
    ),
    K.UNCLAIMED_HOSTDEV: msgid(
        "A guest has a card that it does not hold: the card is not sold. Find out who "
        "attached it, and detach it on the host or delete the instance. Then it is "
        "scrubbed and tested before it is sold."
    ),
    K.HOSTDEV_MISSING: msgid(
        "The customer pays for a card that the guest lacks. Attach it on the host as it "
        "was, or have the instance deleted and launched anew."
    ),
    K.CARD_IN_TWO_DOMAINS: msgid(
        "Two domains name one card. Stop the one that does not hold it, and quarantine "
        "the card until it was scrubbed."
    ),
    K.CLAIM_UNUSED: msgid(
        "The claim ends by itself once the host has said for some minutes that there is no "
        "domain. If the host is gone for good, force its release."
    ),
    K.CPUS_DIFFER: msgid(
        "Somebody changed the guest's pinning on the host. Pin it as claimed, with virsh "
        "vcpupin, or have the instance launched anew."
    ),
    K.MEMORY_DIFFERS: msgid(
        "Somebody changed the guest's memory on the host. Set it as claimed, or have the "
        "instance launched anew."
    ),
    K.CARD_VANISHED: msgid(
        "Look at the host's kernel log and reseat the card. If it is in another slot or "
        "host, accept its move there; if it is gone for good, retire the card."
    ),
    K.CARD_NEW: msgid("Nothing: it is checked, then sold."),
    K.CARD_REPLACED: msgid(
        "The known card is missing and another is in its slot, which is checked as a new "
        "one. Retire the known card if it does not come back."
    ),
    K.CARD_MOVED: msgid(
        "If it was moved on purpose, accept the move: the card is checked before it is "
        "sold. If not, find out which of the two reports is wrong."
    ),
    K.CARD_UNSELLABLE: msgid("Put right what is told, then look again."),
    K.NUMA_CHANGED: msgid(
        "Compare the firmware's NUMA settings with those of the host's peers and set them "
        "back. A card that really sits elsewhere has another address, too."
    ),
    K.GROUP_CHANGED: msgid(
        "Nothing: the new number is taken over once the card has passed its test, which "
        "for a card in use is after its instance."
    ),
    K.DRIVER_CHANGED: msgid(
        "The host itself has taken the card. Bind it to vfio-pci and keep its driver from "
        "loading, see the check of the host."
    ),
    K.FUNCTIONS_CHANGED: msgid(
        "The card shows other functions than it was enrolled with: a firmware setting, or "
        "a fault. Set it back, or quarantine and retire the card."
    ),
    K.BOOT_CHANGED: msgid(
        "Nothing: each free card is checked again before it is sold."
    ),
    K.HOST_CHANGED: msgid(
        "Look for failed memory or CPUs and changed firmware settings. If the host stays "
        "smaller, drain and retire it."
    ),
    K.HOST_REPLACED: msgid(
        "Find out which machine answers at this address, and put the enrolled one back. If "
        "that is gone for good, take the host out of service."
    ),
}


def remedy_of(kind: DiscrepancyKind) -> str:
    """Return what people do about it, in the language of whoever reads it."""
    return say(_REMEDIES[kind])


# These go once the cards were checked.
PASSING = frozenset({K.CARD_NEW, K.BOOT_CHANGED, K.GROUP_CHANGED})
