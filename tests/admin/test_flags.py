"""Flags in the admin: every change has a reason, a kill and its end are one click each."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from flags.models import Flag, FlagChange, FlagProposal
from instances.actions.launch import launch
from instances.exceptions import InvalidRequest
from instances.models import Account, Instance
from inventory.models import Host
from tests.admin.conftest import browser_of
from tests.builders import make_flag, make_order

FORM = {
    "everyone": "unknown",
    "account_percent": "0",
    "accounts": [],
    "account_tags": "employee",
    "note": "",
    "reason": "more testers",
    "due_at_0": "",
    "due_at_1": "",
    **{f"{rows}-TOTAL_FORMS": "0" for rows in ("proposals", "changes", "decisions")},
    **{f"{rows}-INITIAL_FORMS": "0" for rows in ("proposals", "changes", "decisions")},
}


def url_of(row: Flag | FlagProposal, page: str = "change") -> str:
    return f"/admin/flags/{row._meta.model_name}/{row.pk}/{page}/"


def answer(browser: Client, row: Flag | FlagProposal, verb: str) -> Any:
    sent = {"_form_submitted": "1", "reason": "a fault in the cards"}
    return browser.post(url_of(row, verb), sent, follow=True)


def test_form_has_our_ways_in_and_no_other(staff: Client, db: None) -> None:
    page = staff.get(url_of(make_flag(tags=("employee",))))

    assert set(page.context["adminform"].form.fields) == {
        *("everyone", "account_percent", "accounts", "account_tags", "note"),
        *("reason", "due_at"),
    }


def test_change_is_made_with_its_reason_or_not_at_all(
    staff: Client, employee: Account
) -> None:
    flag = make_flag(tags=("employee",))
    wanted = {**FORM, "account_percent": "20", "accounts": [employee.pk]}

    refused = staff.post(url_of(flag), {**wanted, "reason": ""})
    nothing = staff.post(url_of(flag), FORM, follow=True)
    made = staff.post(url_of(flag), wanted)

    assert errors_of_form(refused) == {"reason": ["This field is required."]}
    assert "All is as it was." in nothing.content.decode()
    assert made.status_code == 302
    (change,) = FlagChange.objects.all()
    assert (change.by, change.reason) == ("user:admin", "more testers")
    assert change.before["account_percent"] == 0
    assert change.after == {
        "everyone": None,
        "account_percent": 20,
        "accounts": [employee.pk],
        "account_tags": ["employee"],
        "note": "",
        "is_killed": False,
    }
    assert LogEntry.objects.get().change_message == "more testers"
    flag.refresh_from_db()
    assert (flag.account_percent, list(flag.accounts.all())) == (20, [employee])


def errors_of_form(response: Any) -> dict[str, list[str]]:
    form = response.context["adminform"].form
    return {name: list(errors) for name, errors in form.errors.items()}


def test_new_flag_is_shut_and_keeps_its_name(staff: Client, db: None) -> None:
    body = {"name": "h100", "note": "the next cards", "reason": "to come"}
    assert staff.post("/admin/flags/flag/add/", body).status_code == 302

    flag = Flag.objects.get(name="h100")
    staff.post(url_of(flag), {**FORM, "name": "other", "everyone": "false"})

    flag.refresh_from_db()
    assert (flag.name, flag.everyone) == ("h100", False)
    kinds = FlagChange.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["created", "changed"]


def test_kill_refuses_and_is_counted_and_taken_back(
    staff: Client, instance: Instance
) -> None:
    flag = Flag.objects.get()
    order = make_order(instance.account, plan="gpu-1")

    killed = answer(staff, flag, "kill")
    with pytest.raises(InvalidRequest, match="valid plan type"):
        launch(order)

    assert "gpu-instances is killed, from" in killed.content.decode()
    assert "1 times, 1 accounts" in staff.get(url_of(flag)).content.decode()
    again = answer(staff, flag, "kill").content.decode()
    assert "gpu-instances is killed already." in again
    edited = staff.post(url_of(flag), {**FORM, "everyone": "false"}, follow=True)
    assert "take that back first" in edited.content.decode()
    answer(staff, flag, "take_back")
    assert launch(order).plan.slug == "gpu-1"
    told = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(told) == [
        "Killed: a fault in the cards",
        "Kill taken back: a fault in the cards",
    ]


def test_two_persons_by_setting_and_a_kill_by_one(
    staff: Client, fleet: Host, settings: Settings
) -> None:
    settings.FLAG_CHANGES_NEED_TWO = True
    flag = Flag.objects.get()
    other = browser_of(
        "flags.view_flag", "flags.change_flag", "flags.view_flagproposal"
    )
    on_call = browser_of("flags.view_flag", "flags.kill_flag")

    staff.post(url_of(flag), {**FORM, "everyone": "false"})
    proposal = FlagProposal.objects.get()
    by_same = answer(staff, proposal, "approve").content.decode()
    assert "cannot approve it" in by_same
    flag.refresh_from_db()
    assert flag.everyone is None
    answer(other, proposal, "approve")
    flag.refresh_from_db()
    assert flag.everyone is False
    assert FlagChange.objects.get().approved_by.startswith("user:staff")

    answer(on_call, flag, "kill")
    flag.refresh_from_db()
    assert flag.is_killed
    assert answer(on_call, flag, "take_back").status_code == 403
