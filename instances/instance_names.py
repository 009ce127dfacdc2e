"""What an instance may be called and tagged: Linode API v4's rules."""

import re
from collections.abc import Collection

from instances.models import Account, Instance

# Linode API v4, "Create a Linode": label.
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|[-_.](?![-_.])){1,62}[A-Za-z0-9]")
FIREWALL_LABEL_LENGTH = 32
LABEL_RULE = (
    "Label must be 3 to 64 characters: letters, digits, single - _ or . between them"
)
LABEL_TAKEN = "Label must be unique among your linodes"
MAX_TAGS = 100
TAG_LENGTHS = range(3, 51)
TAGS_RULE = f"At most {MAX_TAGS} tags of 3 to 50 characters each"


def label_problem(
    account: Account, label: str, *, of: Instance | None = None
) -> str | None:
    """Return why the account's instance `of` (None: a new one) may not have the label."""
    if not _LABEL.fullmatch(label):
        return LABEL_RULE
    return LABEL_TAKEN if label_is_taken(account, label, of=of) else None


# Linode API v4, "Create a placement group": label.
_GROUP_LABEL = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,62}[A-Za-z0-9])?")


def is_group_label(label: str) -> bool:
    """Say whether a placement group may have the label."""
    return bool(_GROUP_LABEL.fullmatch(label))


def is_firewall_label(label: str) -> bool:
    """Say whether a firewall may have the label: like a Linode's, but shorter."""
    return len(label) <= FIREWALL_LABEL_LENGTH and bool(_LABEL.fullmatch(label))


def label_is_taken(account: Account, label: str, *, of: Instance | None = None) -> bool:
    """Say whether another live instance of the account has the label; one query."""
    others = Instance.objects.filter(account=account, label=label, ended_at=None)
    return (others.exclude(pk=of.pk) if of else others).exists()


def tags_problem(tags: Collection[str]) -> str | None:
    """Return why an instance may not have these tags."""
    fits = len(tags) <= MAX_TAGS and all(len(tag) in TAG_LENGTHS for tag in tags)
    return None if fits else TAGS_RULE
