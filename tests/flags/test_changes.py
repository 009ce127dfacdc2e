"""Flags change under a lock that claims share, with a reason, once, and can be told apart."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from flags import changes, gate_lock
from flags.availability import bucket_of, is_available, open_accounts
from flags.changes import Why
from flags.exceptions import ChangeRefused, GatesBusy
from flags.models import Flag, FlagChange, FlagProposal
from instances.gates import hold_gates
from instances.models import Account
from tests.builders import make_account, make_flag
from tests.clusters import eventually

NAME = "gpu-instances"
WHY = Why("user:ann", "a fault in the cards")


@pytest.mark.django_db
def test_a_percentage_lets_the_same_accounts_in_as_python_says() -> None:
    accounts = [make_account() for _ in range(60)]
    flag = make_flag()
    before: set[Account] = set()
    for percent in (0, 30, 70, 100):
        Flag.objects.update(account_percent=percent)
        chosen = {a for a in accounts if bucket_of(NAME, a.pk) < percent}

        assert {a for a in accounts if is_available([NAME], a)} == chosen
        assert set(open_accounts([NAME], Account.objects.all())) == chosen
        assert not is_available([NAME], None)
        assert before <= chosen
        before = chosen
    assert before == set(accounts)
    with pytest.raises(IntegrityError, match="flag_percent"), transaction.atomic():
        Flag.objects.filter(pk=flag.pk).update(account_percent=101)


@pytest.mark.django_db
def test_a_kill_taken_back_leaves_the_flag_exactly_as_it_was() -> None:
    account = make_account(tags=("employee",))
    flag = make_flag(accounts=(account,), tags=("employee",))
    Flag.objects.update(account_percent=20, note="trial")
    tomorrow = timezone.now() + timedelta(days=1)
    changes.change(flag.pk, {"everyone": True}, WHY, tomorrow)
    flag.refresh_from_db()
    before = changes.state_of(flag)

    killed = changes.kill(flag.pk, WHY)

    assert not is_available([NAME], account)
    assert not open_accounts([NAME], Account.objects.all()).exists()
    assert (killed.before, killed.after) == (before, {**before, "is_killed": True})
    # What was planned would open it behind the back of whoever killed it.
    planned = FlagProposal.objects.get()
    assert (planned.state, planned.ended_by) == ("cancelled", "user:ann")
    for refused in (
        lambda: changes.kill(flag.pk, WHY),
        lambda: changes.change(flag.pk, {"everyone": True}, WHY),
    ):
        with pytest.raises(ChangeRefused, match="is killed"):
            refused()
    changes.take_back(flag.pk, WHY)
    flag.refresh_from_db()
    assert changes.state_of(flag) == before
    assert is_available([NAME], account)
    with pytest.raises(ChangeRefused, match="is not killed"):
        changes.take_back(flag.pk, WHY)


@pytest.mark.django_db
def test_what_is_scheduled_is_made_once_however_late() -> None:
    flag = make_flag()
    now = timezone.now()
    changes.change(flag.pk, {"everyone": False}, WHY, now + timedelta(minutes=1))
    assert (changes.apply_due(), is_available([NAME], None)) == (0, False)
    # Two days without a worker.
    changes.change(flag.pk, {"everyone": True}, WHY, now - timedelta(days=2))
    changes.change(flag.pk, {"note": "launched"}, WHY, now - timedelta(days=1))
    changes.change(flag.pk, {"everyone": False}, WHY, now - timedelta(hours=1))
    changes.cancel(FlagProposal.objects.get(changes__note="launched").pk, "user:bob")

    made = changes.apply_due(), changes.apply_due()

    flag.refresh_from_db()
    assert (made, flag.everyone, flag.note) == ((1, 0), True, "")
    change = FlagChange.objects.get()
    assert (change.by, change.before["everyone"], change.after["everyone"]) == (
        *("user:ann", None, True),
    )
    # The last was proposed for a flag that was still by list.
    states = FlagProposal.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["scheduled", "applied", "cancelled", "outdated"]


@pytest.mark.django_db
def test_a_second_person_approves_what_the_first_proposed(settings: Settings) -> None:
    settings.FLAG_CHANGES_NEED_TWO = True
    flag = make_flag()
    tomorrow = timezone.now() + timedelta(days=1)
    now = changes.change(flag.pk, {"everyone": True}, WHY)
    later = changes.change(flag.pk, {"note": "launched"}, WHY, tomorrow)
    with pytest.raises(ChangeRefused, match="ask another"):
        changes.approve(now.pk, "user:ann")
    with (
        pytest.raises(IntegrityError, match="approved_by_another"),
        transaction.atomic(),
    ):
        FlagProposal.objects.filter(pk=now.pk).update(approved_by="user:ann")
    assert not is_available([NAME], None)

    changes.approve(now.pk, "user:bob")
    changes.approve(later.pk, "user:bob")

    assert is_available([NAME], None)
    assert FlagChange.objects.get().approved_by == "user:bob"
    later.refresh_from_db()
    assert later.state == "scheduled"
    with pytest.raises(ChangeRefused, match="over"):
        changes.approve(now.pk, "user:cem")
    # A kill waits for nobody; to take it back is a change like others.
    changes.kill(flag.pk, WHY)
    assert not is_available([NAME], None)
    back = changes.take_back(flag.pk, WHY)
    assert isinstance(back, FlagProposal)
    assert not is_available([NAME], None)


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["UPDATE flags_flagchange SET by = 'x'", "DELETE"])
def test_history_and_what_is_over_are_never_rewritten(verb: str) -> None:
    flag = make_flag()
    changes.kill(flag.pk, WHY)
    sql = verb if verb.startswith("UPDATE") else "DELETE FROM flags_flagchange"

    with (
        pytest.raises(IntegrityError, match="history"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)


def _waits_for_claims() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        )
        return bool(cursor.fetchone()[0])


class _Aside(threading.Thread):
    """Runs a call on a connection of its own; result() waits and gives what it returned."""

    def __init__(self, call: object) -> None:
        super().__init__()
        self._call, self._found = call, None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._found = self._call()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 -- raised again by result()
            self._error = error
        finally:
            connection.close()

    def result(self) -> object:
        self.join()
        if self._error is not None:
            raise self._error
        return self._found


@pytest.mark.django_db(transaction=True)
def test_a_kill_waits_for_claims_that_asked_before_and_those_after_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate_lock, "_PATIENCE", "60s")
    flag = make_flag(everyone=True)

    def asked() -> bool:
        with transaction.atomic():
            hold_gates()
            return is_available([NAME], None)

    with transaction.atomic():
        hold_gates()
        assert is_available([NAME], None)
        kill = _Aside(lambda: changes.kill(flag.pk, WHY))
        eventually(_waits_for_claims, "the kill waits")
        after = _Aside(asked)
        assert is_available([NAME], None)
        claimed_at = timezone.now()

    assert kill.result().at > claimed_at  # type: ignore[attr-defined]
    assert after.result() is False


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_is_stuck_is_undone_by_a_kill_and_by_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate_lock, "_PATIENCE", "50ms")
    flag = make_flag(everyone=True)
    is_held, is_tried = threading.Event(), threading.Event()

    def stuck() -> None:
        with transaction.atomic():
            hold_gates()
            make_account("stuck")
            is_held.set()
            is_tried.wait()

    claim = _Aside(stuck)
    assert is_held.wait(60)
    with pytest.raises(GatesBusy):
        changes.change(flag.pk, {"everyone": False}, WHY)
    changes.kill(flag.pk, WHY)
    is_tried.set()

    with pytest.raises(Exception, match=r"terminating connection|closed"):
        claim.result()
    assert not Account.objects.exists()
    assert not is_available([NAME], None)
