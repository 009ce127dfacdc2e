"""The page where employees join betas and leave them, with a login of its own."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from flags.models import Beta, BetaEnrolment
from instances.actions.launch import launch
from instances.choices import Phase
from instances.models import AccessEvent, Account, Instance, InstanceFeedback
from tests.builders import make_account, make_beta, make_host, make_order

pytestmark = pytest.mark.django_db
PAGE = "/employees/"


@pytest.fixture
def beta() -> Beta:
    return make_beta("h100", account_tags=["employee"])


def browser(account: Account) -> Client:
    """Return the browser of a new member of the account, logged in on the page."""
    user = User.objects.create_user(account.name, password="Sonnenblume-7")
    account.members.add(user)
    client = Client()
    sent = {"username": account.name, "password": "Sonnenblume-7"}
    answer = client.post(f"{PAGE}login/", sent)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    return client


def send(client: Client, account: Account, verb: str, beta: str = "h100") -> Any:
    return client.post(PAGE, {"account": account.pk, "beta": beta, verb: ""})


def test_an_employee_joins_and_leaves(
    beta: Beta, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    account = make_account(tags=("employee",))
    client = browser(account)

    send(client, account, "join")
    assert BetaEnrolment.objects.get().enrolled_by == f"user:{account.name}"
    with django_assert_max_num_queries(7):
        page = client.get(PAGE)
    assert 'aria-label="Leave Beta h100"' in page.content.decode()
    assert "unsafe-inline" not in page["Content-Security-Policy"].partition("style")[0]
    client.get(PAGE, {"account": account.pk, "beta": "h100", "leave": ""})
    assert BetaEnrolment.objects.exists()
    send(client, account, "leave")

    assert not BetaEnrolment.objects.exists()
    told = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(told) == ["Joined the beta Beta h100.", "Left the beta Beta h100."]
    client.post(f"{PAGE}logout/")
    assert client.get(PAGE)["Location"].startswith(f"{PAGE}login/")


def test_logins_are_throttled_and_logged_and_open_no_staff_page(beta: Beta) -> None:
    account = make_account(tags=("employee",))
    client = browser(account)
    assert client.get("/admin/").status_code == 302

    wrong = {"username": account.name, "password": "Sonnenblume-8"}
    answers = [Client().post(f"{PAGE}login/", wrong) for _ in range(6)]

    assert all(answer.status_code == 200 for answer in answers)
    kinds = AccessEvent.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == [
        *("right_password", "login"),
        *["wrong_password"] * 5,
        "locked_out",
    ]


def test_others_find_nothing_there(beta: Beta) -> None:
    employee, customer = make_account(tags=("employee",)), make_account()
    client = browser(customer)

    page = client.get(PAGE).content.decode()

    assert "There is nothing to try now." in page
    assert "h100" not in page
    for account in (employee, customer):
        assert send(client, account, "join").status_code == 404
    assert send(browser(employee), employee, "join", "other").status_code == 404
    assert Client().get(PAGE).status_code == 302
    assert not BetaEnrolment.objects.exists()


def test_members_judge_their_own_machines_ended_ones_too(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    make_host()
    account = make_account(tags=("employee",))
    instance, other = launch(make_order(account)), launch(make_order())
    Instance.objects.update(phase=Phase.FAILED, ended_at=timezone.now())
    client = browser(account)
    form = f"{PAGE}instances/{instance.pk}/feedback/"
    assert form in client.get(PAGE).text

    wrong = client.post(form, {"workload": "mining", "text": "x" * 1001})
    assert (wrong.status_code, set(wrong.context["form"].errors)) == (
        200,
        {"workload", "text"},
    )
    control = {"workload": "rendering", "text": "a\x1b[2J"}
    assert set(client.post(form, control).context["form"].errors) == {"text"}
    assert not InstanceFeedback.objects.exists()
    said = {"workload": "rendering", "text": "<b>Fast</b>", "would_use_again": "true"}
    assert client.post(form, said)["Location"] == PAGE

    row = InstanceFeedback.objects.get()
    assert (row.instance, row.workload, row.would_use_again) == (
        instance,
        "rendering",
        True,
    )
    assert (row.text, row.written_by) == ("<b>Fast</b>", f"user:{account.name}")
    told = LogEntry.objects.get()
    assert (told.object_id, told.change_message) == (
        str(instance.pk),
        "Gave feedback: rendering.",
    )
    with django_assert_max_num_queries(5):
        page = client.get(form)
    assert "&lt;b&gt;Fast" in page.text
    with django_assert_max_num_queries(7):
        assert "rendering" in client.get(PAGE).text
    theirs = f"{PAGE}instances/{other.pk}/feedback/"
    assert client.get(theirs).status_code == 404
    assert client.post(theirs, said).status_code == 404
    assert InstanceFeedback.objects.count() == 1
