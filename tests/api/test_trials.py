"""GET /gpucloud/trials, and what a trial's customer is told of it."""

from datetime import timedelta
from typing import get_args

import pytest

from instances.actions.trials import Grant, cut_short, grant
from instances.api.shapes.trials import AtEnd, EndWord
from instances.choices import AfterTrial, EventAction, TrialEnd
from instances.models import Plan, Trial, WebhookDelivery
from tests.api.builders import ORDER, Customer, errors_of, running_instance

pytestmark = pytest.mark.django_db
PATH = "/gpucloud/trials"
WIRE = "%Y-%m-%dT%H:%M:%S"


def granted(customer: Customer, plan: Plan, at_end: AfterTrial) -> Trial:
    return grant(
        Grant(customer.account, (plan,), 1, 100, "user:staff", "secret", at_end=at_end)
    )


def test_a_trial_is_shown_field_for_field_and_refuses_what_is_beyond_it(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    assert customer.api.get(PATH).json()["data"] == []
    customer.api.post("/gpucloud/webhooks", {"url": "https://ops.example.net/hook"})
    trial = granted(customer, shop["gpu"], AfterTrial.DELETE)
    linode = running_instance(customer)

    shown = customer.api.get(f"{PATH}/{trial.pk}").json()

    assert shown == {
        "id": trial.pk,
        "status": "running",
        "types": ["g1-gpu-rtx6000-1"],
        "gpus": 1,
        "gpus_used": 1,
        "gpu_hours": 100,
        "gpu_hours_used": 0.0,
        "start": trial.starts_at.strftime(WIRE),
        "end": (trial.starts_at + timedelta(days=7)).strftime(WIRE),
        "ended": None,
        "end_reason": None,
        "at_end": "delete",
        "deletion": None,
        "linodes": [linode],
    }
    assert customer.api.get(PATH).json()["data"] == [shown]
    (problem,) = errors_of(customer.api.post("/linode/instances", ORDER))
    assert problem == (
        "type",
        "Your trial allows 1 GPUs of this type at once, 1 are in use, and this asks for "
        "1 more. Delete a Linode of the trial, or open a support ticket to end it.",
    )
    (line,) = customer.api.get("/gpucloud/usage").json()["data"]
    assert line["is_billed"] is False

    cut_short(trial.pk, "user:staff", "secret")

    ended = customer.api.get(f"{PATH}/{trial.pk}").json()
    trial.refresh_from_db()
    assert (ended["status"], ended["end_reason"]) == ("ended", "cut")
    assert trial.ended_at is not None
    assert trial.delete_at is not None
    assert ended["ended"] == trial.ended_at.strftime(WIRE)
    assert ended["deletion"] == trial.delete_at.strftime(WIRE)
    refused = customer.api.post(f"/linode/instances/{linode}/reboot")
    assert (refused.status_code, errors_of(refused)[0][1][:27]) == (
        400,
        "The trial of this Linode ha",
    )
    # Each event is pushed, too.
    events = customer.api.get("/account/events").json()["data"]
    told = [e for e in events if e["entity"]["type"] == "trial"]
    assert [e["action"] for e in told] == [
        EventAction.TRIAL_ENDED,
        EventAction.TRIAL_GRANTED,
    ]
    assert told[0]["entity"]["url"] == f"/v4{PATH}/{trial.pk}"
    pushed = set(WebhookDelivery.objects.values_list("event__action", flat=True))
    assert pushed >= {EventAction.TRIAL_ENDED, EventAction.TRIAL_GRANTED}
    assert "secret" not in str([shown, ended, events])


def test_what_was_a_trials_is_billed_once_it_is_over(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    trial = granted(customer, shop["gpu"], AfterTrial.BILL)
    running_instance(customer)

    cut_short(trial.pk, "user:staff", "they stay")

    lines = customer.api.get("/gpucloud/usage").json()["data"]
    assert sorted(line["is_billed"] for line in lines) == [False, True]
    assert customer.api.get(f"{PATH}/{trial.pk}").json()["deletion"] is None


def test_the_document_names_every_word() -> None:
    assert list(get_args(AtEnd)) == AfterTrial.values
    assert list(get_args(EndWord)) == TrialEnd.values
