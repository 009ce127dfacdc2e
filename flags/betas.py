"""Which betas an account sees and may enrol in, and that it enrols and leaves.

With its flag shut for all, a beta is nothing that anybody has heard of.
"""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from flags.availability import FlaggedAccount
from flags.models import GREENLIGHT_TAG, Beta, BetaEnrolment

_KNOWN = ~Q(flag__everyone=False) & Q(flag__is_killed=False)


def betas_for(account: FlaggedAccount) -> QuerySet[Beta]:
    """Return the betas that have begun, ended ones too, by their ids.

    Those by invitation, or for some tags, are for accounts with such a tag alone; others
    do not know of them.
    """
    begun = Beta.objects.filter(_KNOWN, started_at__lte=Now()).filter(
        Q(account_tags=[]) | Q(account_tags__overlap=account.tags)
    )
    if GREENLIGHT_TAG not in account.tags:
        begun = begun.filter(greenlight_only=False)
    return begun


def open_betas_for(account: FlaggedAccount) -> QuerySet[Beta]:
    """Return the betas that the account may enrol in now."""
    return betas_for(account).filter(Q(ended_at=None) | Q(ended_at__gt=Now()))


def enrolments_of(account: FlaggedAccount) -> QuerySet[BetaEnrolment]:
    """Return what the account enrolled in, first enrolled first, with the betas."""
    rows = BetaEnrolment.objects.filter(
        beta__in=Beta.objects.filter(_KNOWN), account=account.pk
    )
    return rows.select_related("beta").order_by("pk")


def enrol(account: FlaggedAccount, beta: Beta, actor: str) -> BetaEnrolment:
    """Enrol the account; a repeat changes nothing. actor: user:NAME."""
    return BetaEnrolment.objects.get_or_create(
        account_id=account.pk, beta=beta, defaults={"enrolled_by": actor}
    )[0]


def leave(account: FlaggedAccount, beta: Beta) -> None:
    """Take the account's enrolment back; what runs goes on."""
    BetaEnrolment.objects.filter(account_id=account.pk, beta=beta).delete()
