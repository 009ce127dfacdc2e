"""Whose pages these are: members of accounts that are employees'."""

from django.http import HttpRequest

from instances.models import Account
from instances.models.account import EMPLOYEE_TAG


def employees_accounts_of(request: HttpRequest) -> list[Account]:
    """Return the accounts that the person who is logged in acts for; one query."""
    rows = Account.objects.filter(
        members=request.user.pk, tags__contains=[EMPLOYEE_TAG]
    )
    return list(rows)
