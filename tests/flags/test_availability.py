"""Who is let in by a flag, and that a kill beats every list."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction

from flags.availability import is_available, open_gates
from flags.models import Flag
from tests.builders import make_account, make_flag, make_user

pytestmark = pytest.mark.django_db
NAME = "gpu-instances"


def test_flag_that_does_not_exist_is_shut() -> None:
    assert not is_available([NAME], make_account())


def test_no_flag_name_is_no_gate() -> None:
    assert is_available([""], None)


def test_listed_account_and_tagged_account_are_let_in() -> None:
    listed, employee, other = (
        make_account(),
        make_account(tags=("employee",)),
        make_account(),
    )
    make_flag(accounts=(listed,), tags=("employee",))

    assert is_available([NAME], listed)
    assert is_available([NAME], employee)
    assert not is_available([NAME], other)
    assert not is_available([NAME], None)


def test_kill_beats_every_list() -> None:
    listed = make_account(tags=("employee",))
    make_flag(everyone=False, accounts=(listed,), tags=("employee",))

    assert not is_available([NAME], listed)


def test_launch_lets_everyone_in() -> None:
    make_flag(everyone=True)

    assert is_available([NAME], make_account())
    assert is_available([NAME], None)


def test_many_flags_take_one_query(django_assert_num_queries: object) -> None:
    account = make_account()
    for number in range(4):
        make_flag(f"flag{number}", accounts=(account,) if number % 2 else ())

    with django_assert_num_queries(1):  # type: ignore[operator]
        found = set(
            Flag.objects.filter(name__in=open_gates(account)).values_list(
                "name", flat=True
            )
        )

    assert found == {"flag1", "flag3"}


def test_waffle_asks_the_same_question() -> None:
    user, account = make_user(), make_account()
    account.members.add(user)
    flag = make_flag(accounts=(account,))

    assert flag.is_active_for_user(user)
    assert not flag.is_active_for_user(make_user())
    assert not flag.is_active_for_user(AnonymousUser())
    flag.users.add(user)
    flag.everyone = False
    assert not flag.is_active_for_user(user)


@pytest.mark.parametrize(
    "back_door",
    [
        {"testing": True},
        {"superusers": True},
        {"staff": True},
        {"percent": "5"},
        {"authenticated": True},
        {"languages": "en"},
        {"rollout": True},
    ],
)
def test_waffles_other_ways_in_are_refused(back_door: dict[str, object]) -> None:
    make_flag()

    with pytest.raises(IntegrityError), transaction.atomic():
        Flag.objects.update(**back_door)
