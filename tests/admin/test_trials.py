"""Trials in the admin: granted and cut short with a reason, by whom that is given to."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from instances.models import Account, Plan, Trial
from inventory.models import Host
from tests.admin.conftest import browser_of
from tests.builders import make_account

FORM = {
    "_form_submitted": "1",
    "days": "7",
    "cards": "2",
    "card_hours": "100",
    "at_end": "delete",
    "grace_hours": "24",
    "reason": "Asked for at the fair",
}


@pytest.fixture
def customer(db: None) -> Account:
    return make_account("Acme")


def test_staff_grant_one_at_a_time_and_cut_it_short(
    staff: Client, fleet: Host, customer: Account
) -> None:
    page = f"/admin/instances/account/{customer.pk}/"
    plans = [str(plan.pk) for plan in Plan.objects.all()]
    assert "Grant this account a trial" in staff.get(f"{page}change/").text

    staff.post(f"{page}grant_trial/", {**FORM, "plans": plans})

    trial = Trial.objects.get()
    assert (trial.account, trial.cards, trial.card_hours) == (customer, 2, 100)
    assert (trial.granted_by, trial.reason) == ("user:admin", FORM["reason"])
    assert trial.plans.count() == len(plans)
    again = staff.post(f"{page}grant_trial/", {**FORM, "plans": plans}, follow=True)
    assert "cut it short first" in again.text
    assert Trial.objects.count() == 1

    cut = f"/admin/instances/trial/{trial.pk}/cut_short/"
    staff.post(cut, {"_form_submitted": "1", "reason": "They buy it", "at_end": "bill"})

    trial.refresh_from_db()
    assert (trial.end_reason, trial.at_end) == ("cut", "bill")
    assert (trial.ended_by, trial.end_remark) == ("user:admin", "They buy it")
    said = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(said) == [
        "Granted: Asked for at the fair",
        "Cut short: They buy it",
    ]
    text = staff.get(f"{page}change/").text
    assert "granted, 2 cards, 100 card hours" in text
    assert "ended, it was cut short" in text
    assert (
        "has ended already"
        in staff.post(
            cut, {"_form_submitted": "1", "reason": "Again"}, follow=True
        ).text
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reason", ""),
        ("days", "0"),
        ("days", "367"),
        ("cards", "0"),
        ("card_hours", "-1"),
        ("at_end", "keep"),
        ("plans", []),
    ],
)
def test_a_grant_that_is_wrong_is_not_made(
    staff: Client, fleet: Host, customer: Account, field: str, value: object
) -> None:
    sent = {**FORM, "plans": [str(Plan.objects.earliest("pk").pk)], field: value}

    staff.post(f"/admin/instances/account/{customer.pk}/grant_trial/", sent)

    assert not Trial.objects.exists()


def test_who_may_only_look_can_grant_nothing(fleet: Host, customer: Account) -> None:
    viewer = browser_of("instances.view_account", "instances.view_trial")

    answer = viewer.post(f"/admin/instances/account/{customer.pk}/grant_trial/", FORM)

    assert answer.status_code == 403
    assert not Trial.objects.exists()
