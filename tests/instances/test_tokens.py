"""Which tokens open the door, and that their secrets are nowhere."""

from datetime import timedelta

import pytest
from django.utils import timezone

from instances import tokens
from instances.models import ApiToken
from tests.builders import make_account, make_token

pytestmark = pytest.mark.django_db


def test_secret_is_not_stored() -> None:
    secret = make_token()

    (row,) = ApiToken.objects.values()
    assert secret not in str(row)
    assert row["prefix"] == secret[:8]


def test_token_finds_its_user_and_account() -> None:
    account = make_account()
    found = tokens.find(make_token(account))

    assert found is not None
    assert found.account == account
    assert tokens.find("0" * 64) is None


def test_token_that_ended_is_not_found() -> None:
    now = timezone.now()
    for change in ({"revoked_at": now}, {"expires_at": now - timedelta(seconds=1)}):
        secret = make_token()
        ApiToken.objects.filter(digest=tokens.digest_of(secret)).update(**change)
        assert tokens.find(secret) is None


def test_token_of_a_disabled_user_is_not_found() -> None:
    secret = make_token()
    user = ApiToken.objects.get().user
    user.is_active = False
    user.save()

    assert tokens.find(secret) is None


def test_token_of_a_member_who_left_is_not_found() -> None:
    account = make_account()
    secret = make_token(account)

    account.members.clear()

    assert tokens.find(secret) is None
