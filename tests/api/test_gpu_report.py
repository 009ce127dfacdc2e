"""POST /gpucloud/instances/{id}/gpu-report: kept once, told to staff, and tested at last."""

from typing import Any, get_args

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from instances.actions.delete import delete
from instances.api.shapes.gpus import ProblemWord, Result
from instances.jobs import runner
from instances.models import ApiChange, Event, Instance, Job, Plan
from inventory import card_actions
from inventory.card_reports import record_report, reports_about
from inventory.choices import CheckOutcome, ReportedProblem
from inventory.ledger import Actor, release
from inventory.models import Alert, Card, CardClaim, CardReport, Host
from tests.api.builders import Customer, errors_of, make_customer
from tests.api.test_attestation import one_card, work
from tests.api.test_gpus import asked, created, plan3
from tests.api.test_reservations import PATH as RESERVATIONS
from tests.api.test_reservations import wanted
from tests.builders import make_user
from tests.simulated import SimulatedHypervisor

__all__ = ["one_card", "plan3"]
pytestmark = pytest.mark.django_db
BAD = {"problem": "errors", "text": "Xid 79:\nit has fallen off the bus."}
NOT_ITS = ("gpu", "gpu must be the id of a GPU that this Linode has")


def reported(customer: Customer, instance: Instance, **fields: Any) -> Any:
    return customer.api.post(
        f"/gpucloud/instances/{instance.pk}/gpu-report", {**BAD, **fields}
    )


def test_a_report_is_kept_and_told_and_takes_nothing(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    instance = created(customer)
    before = list(CardClaim.objects.values())
    (gpu,) = asked(customer, instance, "gpus")["data"]

    answer = reported(customer, instance, gpu=gpu["id"])

    row = CardReport.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {
        "linode_id": instance.pk,
        "gpu": gpu["id"],
        **BAD,
        "reported": f"{row.reported_at:%Y-%m-%dT%H:%M:%S}",
    }
    assert (row.claim.consumer, row.reported_by) == (instance.uuid, "user:carol")
    assert list(CardClaim.objects.values()) == before
    assert row.claim.card.condition == "ready"
    (alert,) = Alert.objects.all()
    assert (alert.card, alert.alert_class) == (row.claim.card, "warning")
    assert "Xid 79" in alert.message
    told = customer.api.get("/account/events").json()["data"][0]
    assert (told["action"], told["status"]) == ("gpu_report", "notification")
    assert (told["entity"]["id"], told["username"]) == (instance.pk, "carol")
    assert told["message"] == "Quadro rtx6000: the driver reports errors"
    (again,) = asked(customer, instance, "gpus")["data"]
    assert again["reported"] == answer.json()["reported"]
    assert ApiChange.objects.filter(path__endswith="/gpu-report", status=200).exists()


def test_the_first_report_stands(customer: Customer, shop: dict[str, Plan]) -> None:
    instance = created(customer)
    first = reported(customer, instance).json()
    events = Event.objects.count()

    second = reported(customer, instance, problem="slow", text="Now slow, too.")

    assert (second.status_code, second.json()) == (200, first)
    assert CardReport.objects.count() == Alert.objects.count() == 1
    assert Event.objects.count() == events


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"problem": "broken"}, ["problem"]),
        ({"problem": None}, ["problem"]),
        ({"problem": ["errors"]}, ["problem"]),
        ({"text": ""}, ["text"]),
        ({"text": " \n"}, ["text"]),
        ({"text": "x" * 1001}, ["text"]),
        ({"text": "a\x1b[2J"}, ["text"]),
        ({"text": 5}, ["text"]),
        ({"gpu": "f" * 32}, ["gpu"]),
        ({"gpu": 1}, ["gpu"]),
        (
            {"gpu": {}, "problem": 1, "text": None, "at": 1},
            ["gpu", "problem", "text", "at"],
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_kept(
    customer: Customer, shop: dict[str, Plan], fields: dict[str, Any], wrong: list[str]
) -> None:
    refused = reported(customer, created(customer), **fields)

    assert refused.status_code == 400
    assert [field for field, _ in errors_of(refused)] == wrong
    assert not CardReport.objects.exists()
    assert not Alert.objects.exists()


def test_one_of_several_gpus_has_to_be_named(customer: Customer, plan3: Plan) -> None:
    instance = created(customer, type=plan3.slug)
    gpus = asked(customer, instance, "gpus")["data"]

    assert errors_of(reported(customer, instance)) == [NOT_ITS]
    for gpu in gpus[1:]:
        assert reported(customer, instance, gpu=gpu["id"]).json()["gpu"] == gpu["id"]

    marks = [bool(gpu["reported"]) for gpu in asked(customer, instance, "gpus")["data"]]
    assert marks == [False, True, True]
    assert CardReport.objects.count() == 2


def test_no_other_card_can_be_reported(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    mine, other, plain = (
        *(created(customer), created(customer)),
        created(customer, type="g6-standard-2"),
    )
    (gpu,) = asked(customer, other, "gpus")["data"]
    assert errors_of(reported(customer, mine, gpu=gpu["id"])) == [NOT_ITS]
    assert errors_of(reported(customer, plain)) == [NOT_ITS]
    with transaction.atomic():
        release(mine.uuid, Actor("job:1", "test"))
    assert errors_of(reported(customer, mine)) == [NOT_ITS]
    assert not CardReport.objects.exists()


def test_a_reported_card_is_tested_once_let_go_and_its_alert_ends(
    customer: Customer, one_card: Host
) -> None:
    hypervisor = SimulatedHypervisor()
    instance = created(customer)
    work([Job.objects.get().pk], hypervisor)
    assert reported(customer, instance).status_code == 200
    card = Card.objects.get()
    assert runner.run(Job.objects.get().pk, lambda _uri: hypervisor) == []
    (during,) = reports_about(card)
    assert (card.condition, during.check_id) == ("ready", None)
    assert Alert.objects.filter(cleared_at=None).count() == 1

    work([delete(instance, "user:carol", "carol").pk], hypervisor)

    card.refresh_from_db()
    (after,) = reports_about(card)
    test = card.checks.get(pk=after.check_id)
    assert (card.condition, test.kind, after.verdict) == ("ready", "test", "passed")
    assert test.started_at > after.claim.released_at
    assert not Alert.objects.filter(cleared_at=None).exists()
    # The next customer's word is another one.
    assert reported(customer, created(customer)).status_code == 200
    assert CardReport.objects.count() == 2


def test_a_reported_card_that_fails_is_quarantined_and_its_alert_stays(
    customer: Customer, one_card: Host
) -> None:
    hypervisor = SimulatedHypervisor()
    instance = created(customer)
    work([Job.objects.get().pk], hypervisor)
    reported(customer, instance)
    hypervisor.bad_bytes["0000:21:00"] = 7

    work([delete(instance, "user:carol", "carol").pk], hypervisor)

    card = Card.objects.get()
    (report,) = reports_about(card)
    assert (card.condition, report.verdict) == ("quarantined", "failed")
    assert Alert.objects.filter(cleared_at=None, code="reported").count() == 1


def test_staff_read_it_on_the_cards_page(customer: Customer, one_card: Host) -> None:
    instance = created(customer)
    reported(customer, instance, text="<b>hot</b>")
    staff = Client()
    staff.force_login(make_user("ann", is_staff=True, is_superuser=True))
    path = f"/admin/inventory/card/{Card.objects.get().pk}/change/"

    page = staff.get(path).content.decode()

    assert 'id="card-reports"' in page
    assert "&lt;b&gt;hot&lt;/b&gt;" in page
    assert "<b>hot" not in page
    assert "Still with this user" in page
    with transaction.atomic():
        release(instance.uuid, Actor("job:1", "test"))
    assert "Let go, not checked yet" in staff.get(path).content.decode()


def test_a_card_that_staff_took_from_sale_can_be_reported_too(
    customer: Customer, one_card: Host
) -> None:
    instance = created(customer)
    card_actions.quarantine(Card.objects.get().pk, Actor("user:ann", "noise"))

    assert reported(customer, instance).status_code == 200
    assert Card.objects.get().condition == "quarantined"


def test_reporting_needs_the_scope(customer: Customer, one_card: Host) -> None:
    instance = created(customer)
    reader = make_customer(scopes="linodes:read_only", account=customer.account)

    refused = reported(reader, instance)

    assert refused.status_code == 401
    assert refused["X-Accepted-OAuth-Scopes"] == "linodes:read_write"
    assert not CardReport.objects.exists()


def test_the_database_lets_no_report_be_changed(
    customer: Customer, one_card: Host
) -> None:
    reported(customer, created(customer))

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        CardReport.objects.update(text="fine")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        CardReport.objects.all().delete()


@pytest.mark.parametrize("is_hold", [True, False])
def test_the_database_refuses_a_report_of_a_card_without_a_user(
    customer: Customer, one_card: Host, is_hold: bool
) -> None:
    if is_hold:
        assert customer.api.post(RESERVATIONS, wanted()).status_code == 200
    else:
        with transaction.atomic():
            release(created(customer).uuid, Actor("job:1", "test"))
    claim = CardClaim.objects.select_related("card__host").get()

    with (
        pytest.raises(IntegrityError, match="nobody uses its card"),
        transaction.atomic(),
    ):
        record_report(claim, ReportedProblem.SLOW, "late", "user:carol")

    assert not CardReport.objects.exists()


def test_the_wires_words_are_the_rows_words() -> None:
    assert list(get_args(ProblemWord)) == ReportedProblem.values
    assert list(get_args(Result)) == CheckOutcome.values
