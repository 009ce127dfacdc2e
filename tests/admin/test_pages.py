"""Every page of the admin opens, with a bounded number of queries."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from flags.models import (
    Beta,
    BetaEnrolment,
    Flag,
    FlagChange,
    FlagProposal,
    LaunchDecision,
    ReadinessThreshold,
)
from instances.models import (
    AccessEvent,
    Account,
    ApiChange,
    ApiToken,
    Event,
    GpuQuota,
    HostImage,
    Image,
    Instance,
    InstanceFeedback,
    Invoice,
    Job,
    PlacementGroup,
    Plan,
    RefusedDemand,
    Reservation,
    SSHKey,
    Trial,
    UsageInterval,
    WaitlistEntry,
    Webhook,
    WebhookDelivery,
)
from inventory.models import (
    AddressClaim,
    AddressPool,
    Alert,
    Card,
    CardCheck,
    CardClaim,
    CardEvent,
    CheckImage,
    Discrepancy,
    GpuModel,
    GuestSetup,
    Host,
    HostOutage,
    NodeClaim,
    Region,
)
from tests.builders import make_host, make_region, make_user

# Session, user, count, page; then what filters and columns ask for, once a page.
MOST_QUERIES = 12
EDITED_BY_HAND = {
    Account, AddressPool, Beta, CheckImage, Flag, GpuModel, GpuQuota, Group, GuestSetup, Image,
    Plan, ReadinessThreshold, Region, User,
}  # fmt: skip
# Accounts write them, staff take them back.
ENDED_BY_HAND = {BetaEnrolment}
# Their "add" is a page of its own.
ADDED_ELSEWHERE = {Host: "admin:inventory_host_enrol", Instance: "admin:launch"}
WRITTEN_BY_CODE = {
    AccessEvent, AddressClaim, Alert, ApiChange, ApiToken, Card, CardCheck, CardClaim,
    CardEvent, Discrepancy, Event, FlagChange, FlagProposal, HostImage, HostOutage,
    InstanceFeedback, Invoice, Job, LaunchDecision, NodeClaim, PlacementGroup, RefusedDemand,
    Reservation, SSHKey, Trial, UsageInterval, WaitlistEntry, Webhook, WebhookDelivery,
}  # fmt: skip
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)


def url_of(model: type[Model], page: str, *args: object) -> str:
    return reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args
    )


def test_what_is_registered_is_what_is_meant() -> None:
    assert set(REGISTERED) == (
        EDITED_BY_HAND | ENDED_BY_HAND | set(ADDED_ELSEWHERE) | WRITTEN_BY_CODE
    )


def test_lists_open_with_bounded_queries(
    staff: Client,
    full_house: Instance,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(5):
        make_host(region=make_region(f"region-{number}"))
        make_user()
    Group.objects.create(name="operators")

    for model in REGISTERED:
        with django_assert_max_num_queries(MOST_QUERIES, info=model.__name__):
            response = staff.get(url_of(model, "changelist"))

        assert response.status_code == 200, model
        assert response.context["cl"].result_count >= 1, model


def test_search_and_every_filter_open(staff: Client, full_house: Instance) -> None:
    Group.objects.create(name="operators")
    for model in REGISTERED:
        url = url_of(model, "changelist")
        page = staff.get(url)
        queries = [
            choice["query_string"]
            for spec in page.context["cl"].filter_specs
            for choice in spec.choices(page.context["cl"])
            if "query_string" in choice
        ]

        for query in ["?q=trial", *queries]:
            response = staff.get(url + query)
            assert response.status_code == 200, url + query


def test_pages_of_a_row_open_with_bounded_queries(
    staff: Client,
    full_house: Instance,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    Group.objects.create(name="operators")
    for model in REGISTERED:
        row = model._default_manager.first()
        assert row is not None, model
        # A process reads it once; whether an earlier test did so depends on the order.
        ContentType.objects.get_for_model(model)

        with django_assert_max_num_queries(25, info=model.__name__):
            response = staff.get(url_of(model, "change", row.pk))

        assert response.status_code == 200, model


def test_rows_are_added_only_where_a_form_is_meant(
    staff: Client, full_house: Instance
) -> None:
    for model in REGISTERED:
        response = staff.get(url_of(model, "add"))

        if model in ADDED_ELSEWHERE:
            assert response.status_code == 302, model
            assert response["Location"] == reverse(ADDED_ELSEWHERE[model])
        else:
            expected = 200 if model in EDITED_BY_HAND else 403
            assert response.status_code == expected, model


def test_what_code_writes_cannot_be_edited_or_deleted_by_hand(
    staff: Client, full_house: Instance
) -> None:
    for model in sorted(WRITTEN_BY_CODE | set(ADDED_ELSEWHERE), key=str):
        row = model._default_manager.first()
        assert row is not None, model
        before = model._default_manager.filter(pk=row.pk).values().get()

        edited = staff.post(url_of(model, "change", row.pk), {"condition": "ready"})
        deleted = staff.post(url_of(model, "delete", row.pk), {"post": "yes"})

        assert (edited.status_code, deleted.status_code) == (403, 403), model
        assert model._default_manager.filter(pk=row.pk).values().get() == before


def test_an_enrolment_is_taken_back_and_not_edited(
    staff: Client, full_house: Instance
) -> None:
    row = BetaEnrolment.objects.get()

    edited = staff.post(url_of(BetaEnrolment, "change", row.pk), {"account": "1"})
    deleted = staff.post(url_of(BetaEnrolment, "delete", row.pk), {"post": "yes"})

    assert (edited.status_code, deleted.status_code) == (403, 302)
    assert not BetaEnrolment.objects.exists()
    assert LogEntry.objects.get().object_repr == f"{row.account} in {row.beta}"


def test_no_address_of_the_task_queue_or_of_waffle_is_left(staff: Client) -> None:
    for path in ("django_q/schedule/", "django_q/ormq/", "waffle/switch/"):
        assert staff.get(f"/admin/{path}").status_code == 404
    assert staff.get("/admin/django_q/schedule/add/").status_code == 404


def test_root_leads_to_the_first_page(client: Client) -> None:
    response = client.get("/")

    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_customer_cannot_open_the_admin(db: None) -> None:
    client = Client()
    client.force_login(make_user("carol"))

    for path in ("", "launch/", "inventory/card/", "inventory/host/enrol/"):
        response = client.get(f"/admin/{path}")
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_pages_name_nothing_outside_the_site(
    staff: Client, full_house: Instance
) -> None:
    for path in (
        "/admin/",
        "/admin/launch/",
        url_of(Instance, "change", full_house.pk),
    ):
        response = staff.get(path)
        text = response.content.decode()
        assert "https://" not in text.replace("https://www.w3.org", "")
        assert "script-src 'self' 'unsafe-eval'" in response["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "inventory/card/{}/check_again/",
        "inventory/card/{}/quarantine/",
        "inventory/host/{}/drain/",
        "inventory/host/{}/retire_host/",
        "inventory/discrepancy/{}/look_again/",
        "inventory/discrepancy/{}/accept_move/",
        "inventory/discrepancy/{}/remove_guest/",
        "inventory/discrepancy/{}/force_release/",
        "instances/instance/{}/delete_instance/",
        "instances/instance/{}/force_release/",
        "instances/instance/{}/resize/",
        "instances/account/{}/issue_token/",
        "instances/account/{}/reserve/",
        "instances/account/{}/grant_trial/",
        "instances/trial/{}/cut_short/",
        "flags/flag/{}/kill/",
        "flags/flag/{}/take_back/",
        "flags/flagproposal/{}/approve/",
        "flags/flagproposal/{}/cancel/",
        "instances/reservation/{}/release_reservation/",
    ],
)
@pytest.mark.parametrize("row", ["999", "abc", "99999999999999999999"])
def test_dialog_about_nothing_is_not_found(
    path: str, row: str, staff: Client, db: None
) -> None:
    sent = staff.post(
        f"/admin/{path.format(row)}", {"_form_submitted": "1", "reason": "x"}
    )

    assert sent.status_code == 404
    assert staff.get(f"/admin/{path.format(row)}").status_code in {200, 404}
