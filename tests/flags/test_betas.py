"""Betas: who sees them, and that an enrolment opens the flag while the beta goes on."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from flags.availability import is_available, open_accounts, open_gates
from flags.betas import betas_for, enrol, open_betas_for
from flags.models import Beta, BetaEnrolment, Flag
from instances.models import Account
from tests.builders import make_account, make_beta, make_flag, make_user

pytestmark = pytest.mark.django_db
NAME = "eight-gpus"


def is_open(account: Account) -> bool:
    """Ask in each of the ways there are; they must agree."""
    user = make_user()
    account.members.set([user])
    answers = {
        is_available([NAME], account),
        Flag.objects.filter(name__in=open_gates(account)).exists(),
        open_accounts([NAME], Account.objects.filter(pk=account.pk)).exists(),
        Flag.objects.get(name=NAME).is_active_for_user(user),
    }
    (answer,) = answers
    return answer


def enrolled(beta: Beta) -> Account:
    account = make_account()
    enrol(account, beta, "user:carol")
    return account


def test_an_enrolment_opens_the_flag_for_that_account_alone() -> None:
    account = enrolled(make_beta(flag=make_flag(NAME)))

    assert is_open(account)
    assert not is_open(make_account())
    assert not is_available([NAME], None)


def test_the_flag_is_open_from_the_start_to_the_end_of_the_beta() -> None:
    beta = make_beta(flag=make_flag(NAME))
    account = enrolled(beta)
    now, minute = timezone.now(), timedelta(minutes=1)

    def between(started: Any, ended: Any) -> bool:
        Beta.objects.update(started_at=started, ended_at=ended)
        return is_open(account)

    assert between(now - minute, now + minute)
    assert not between(now + minute, None)
    assert not between(now - 2 * minute, now - minute)
    assert between(now - minute, None)


def test_a_kill_beats_an_enrolment_and_a_launch_needs_none() -> None:
    account = enrolled(make_beta(flag=make_flag(NAME)))

    make_flag(NAME, everyone=False)
    assert not is_open(account)
    make_flag(NAME, everyone=True)
    assert is_open(make_account())


def test_an_enrolment_that_is_taken_back_shuts_the_flag() -> None:
    account = enrolled(make_beta(flag=make_flag(NAME)))

    BetaEnrolment.objects.all().delete()

    assert not is_open(account)


def test_a_repeated_enrolment_keeps_the_first() -> None:
    beta, account = make_beta(), make_account()

    first = enrol(account, beta, "user:carol")

    assert enrol(account, beta, "user:oscar") == first
    assert BetaEnrolment.objects.get().enrolled_by == "user:carol"


def test_what_has_not_begun_is_unknown_and_what_ended_takes_nobody() -> None:
    now, day = timezone.now(), timedelta(days=1)
    make_beta("later", started_at=now + day)
    make_beta("now", ended_at=now + day)
    make_beta("over", started_at=now - 2 * day, ended_at=now - day)
    account = make_account()

    assert [beta.slug for beta in betas_for(account)] == ["now", "over"]
    assert [beta.slug for beta in open_betas_for(account)] == ["now"]


def test_what_is_by_invitation_is_seen_with_the_tag_alone() -> None:
    make_beta("secret", greenlight_only=True)

    assert not betas_for(make_account()).exists()
    assert betas_for(make_account(tags=("greenlight",))).exists()


def test_a_beta_that_ends_before_its_start_is_refused() -> None:
    now = timezone.now()

    with pytest.raises(IntegrityError, match="beta_ends"), transaction.atomic():
        make_beta(started_at=now, ended_at=now)
