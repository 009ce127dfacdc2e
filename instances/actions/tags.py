"""Make and remove an account's tags; who carries one is in the instances' rows."""

from collections.abc import Collection

from django.db import IntegrityError, transaction
from django.db.models import F, Func, TextField, Value
from django.db.models.functions import Now

from instances import limits
from instances.exceptions import InvalidRequest
from instances.instance_names import MAX_TAGS
from instances.limits import refuse_more
from instances.models import Account, Firewall, Instance, Tag
from instances.selectors import instances_of, tag_labels_of

EXISTS = "Tag already exists"


def create(account: Account, label: str, instance_ids: Collection[int]) -> None:
    """Make the tag and put it on the account's instances with these ids.

    Raises InvalidRequest if it exists, an id is not the account's, or one is full.
    """
    problems: list[tuple[str | None, str]] = []
    if label in tag_labels_of(account):
        problems.append(("label", EXISTS))
    found = {row.pk: row for row in instances_of(account).filter(pk__in=instance_ids)}
    problems += [
        ("linodes", f"Linode {number} is not one of yours")
        for number in sorted(set(instance_ids) - set(found))
    ]
    problems += [
        ("linodes", f"Linode {number} has {MAX_TAGS} tags already")
        for number, row in sorted(found.items())
        if len(row.tags) >= MAX_TAGS
    ]
    if problems:
        raise InvalidRequest(problems)
    try:
        with transaction.atomic():
            mine = Tag.objects.filter(account=account)
            refuse_more(account, mine, limits.TAGS, "tags")
            Tag.objects.create(account=account, label=label)
            bare = Instance.objects.filter(pk__in=found, ended_at=None)
            bare.exclude(tags__contains=[label]).update(
                tags=_changed("array_append", label), updated_at=Now()
            )
    except IntegrityError:
        # Another request with this label committed first.
        raise InvalidRequest([("label", EXISTS)]) from None


def remove(account: Account, label: str) -> None:
    """Remove the tag from the account, its live instances and its firewalls."""
    with transaction.atomic():
        Tag.objects.filter(account=account, label=label).delete()
        for carriers in (
            Instance.objects.filter(account=account, ended_at=None),
            Firewall.objects.filter(account=account),
        ):
            carriers.filter(tags__contains=[label]).update(
                tags=_changed("array_remove", label), updated_at=Now()
            )


def _changed(function: str, label: str) -> Func:
    # On the row as it is then: another request may have tagged it meanwhile.
    return Func(F("tags"), Value(label, TextField()), function=function)
