"""The launch page: one click is enough, twice makes one, and a refusal says why."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from instances.models import Account, Instance, Job, SeedSettings
from inventory.models import CardClaim, Host
from tests.admin.conftest import browser_of, errors_of
from tests.builders import (
    make_account,
    make_disk_image,
    make_flag,
    make_host,
    make_plan,
    make_region,
)
from tests.instances.test_ssh_keys import ED25519

URL = "/admin/launch/"


def form_of(client: Client, query: str = "") -> dict[str, Any]:
    """Return what a browser sends when Launch is pressed and nothing was changed."""
    form = client.get(URL + query).context["form"]
    return {name: form[name].value() or "" for name in form.fields}


def test_defaults_are_enough(staff: Client, fleet: Host, employee: Account) -> None:
    response = staff.post(URL, form_of(staff))

    instance = Instance.objects.get()
    assert response["Location"] == f"/admin/instances/instance/{instance.pk}/change/"
    assert (instance.account, instance.plan.slug) == (employee, "gpu-1")
    assert instance.created_by == "user:admin"
    assert CardClaim.objects.filter(consumer=instance.uuid).count() == 1
    assert Job.objects.get().actor == "user:admin"


def test_sending_the_form_twice_makes_one_instance(
    staff: Client, fleet: Host, employee: Account
) -> None:
    data = form_of(staff)

    first = staff.post(URL, data)
    second = staff.post(URL, data)

    assert second["Location"] == first["Location"]
    assert Instance.objects.count() == 1


def test_changed_form_with_a_used_key_asks_again(
    staff: Client, fleet: Host, employee: Account
) -> None:
    data = form_of(staff)
    staff.post(URL, data)

    response = staff.post(URL, {**data, "plan": "gpu-2"})

    assert Instance.objects.count() == 1
    assert "launched an instance already" in str(errors_of(response)["__all__"])
    again = response.context["form"]["key"].value()
    assert again != data["key"]
    assert staff.post(URL, {**data, "plan": "gpu-2", "key": again}).status_code == 302
    assert Instance.objects.count() == 2


def test_opening_the_page_changes_nothing(
    staff: Client, fleet: Host, employee: Account
) -> None:
    staff.get(URL)
    staff.get(URL, {"plan": "gpu-1", "region": "us-east", "key": "x", "account": "1"})

    assert Instance.objects.count() == 0
    assert CardClaim.objects.count() == 0


def test_form_without_its_token_is_refused(
    staff: Client, fleet: Host, employee: Account, admin_user: Any
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)

    response = strict.post(URL, form_of(staff))

    assert response.status_code == 403
    assert Instance.objects.count() == 0


def test_person_who_may_not_launch_is_refused(fleet: Host, employee: Account) -> None:
    viewer = browser_of("instances.view_instance", "inventory.view_card")

    assert viewer.get(URL).status_code == 403
    assert viewer.post(URL, {"plan": "gpu-1"}).status_code == 403
    assert Instance.objects.count() == 0


def test_employees_come_first_then_who_has_the_flag(staff: Client, fleet: Host) -> None:
    make_account("Aardvark")
    customer = make_account("Badger")
    make_flag(tags=("employee",), accounts=(customer,))
    assert form_of(staff)["account"] == customer.pk

    employee = make_account("Zebra", tags=("employee",))
    assert form_of(staff)["account"] == employee.pk


def test_default_region_is_one_where_something_fits(
    staff: Client, employee: Account, fleet: Host
) -> None:
    make_region("aa-first", label="Empty", country="xx")

    assert form_of(staff)["region"] == "us-east"
    assert form_of(staff, "?region=aa-first")["region"] == "aa-first"


def test_plan_that_fits_nowhere_is_shown_where_there_is_room(
    staff: Client, employee: Account, fleet: Host
) -> None:
    make_region("aa-first", label="Empty", country="xx")
    make_plan("too-big", cards=4, vcpus=99)

    form = form_of(staff, "?plan=too-big")

    assert (form["plan"], form["region"]) == ("too-big", "us-east")


def test_accounts_page_launches_for_it(
    staff: Client, employee: Account, fleet: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instances.launch_choices.ACCOUNTS_LISTED", 1)
    customer = make_account("Customer")

    url = staff.get(f"/admin/instances/account/{customer.pk}/launch_for/")["Location"]
    form = staff.get(url).context["form"]

    assert form["account"].value() == customer.pk
    assert [pk for pk, _ in form.fields["account"].choices] == [
        employee.pk,
        customer.pk,
    ]
    assert "launch from its own page" in form.fields["account"].help_text


def test_queries_do_not_grow_with_accounts(
    staff: Client, fleet: Host, employee: Account
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            staff.get(URL)
        return len(captured)

    few = queries()
    for _ in range(5):
        make_account()

    assert queries() == few


def test_default_plan_is_one_that_fits(
    staff: Client, employee: Account, fleet: Host
) -> None:
    make_plan("too-big", cards=4, vcpus=99, position=0)

    assert form_of(staff)["plan"] == "gpu-1"


def test_what_fits_is_shown_for_the_region(
    staff: Client, employee: Account, fleet: Host
) -> None:
    make_host(
        "host-b", region=make_region("ap-west", label="Mumbai"), cards_per_node=(1,)
    )

    def fits(query: str) -> dict[str, int]:
        choices = staff.get(URL + query).context["choices"]
        return {choice.plan.slug: choice.fits for choice in choices.plans}

    assert fits("?region=us-east") == {"gpu-1": 4, "gpu-2": 2}
    assert fits("?region=ap-west") == {"gpu-1": 1, "gpu-2": 0}


def test_no_capacity_is_shown_with_every_hosts_reason(
    staff: Client, employee: Account, fleet: Host
) -> None:
    make_plan("gpu-9", label="Nine cards", cards=9)

    response = staff.post(URL, {**form_of(staff), "plan": "gpu-9"})

    assert response.status_code == 200
    assert errors_of(response) == {
        "region": ["No GPU capacity is available in us-east for gpu-9 right now."]
    }
    text = response.content.decode()
    assert "1 host: 4 of 9 cards free" in text
    assert "host-a: 4 of 9 cards free" in text
    assert (Instance.objects.count(), CardClaim.objects.count()) == (0, 0)


def test_shut_flag_is_named_to_staff(
    staff: Client, employee: Account, fleet: Host
) -> None:
    customer = make_account("Customer")

    response = staff.post(URL, {**form_of(staff), "account": customer.pk})

    (error,) = errors_of(response)["plan"]
    assert "the flag gpu-instances is shut for it" in error
    assert Instance.objects.count() == 0


def test_bad_label_is_shown_at_the_label(
    staff: Client, employee: Account, fleet: Host
) -> None:
    response = staff.post(URL, {**form_of(staff), "label": "no spaces please"})

    assert list(errors_of(response)) == ["label"]
    assert Instance.objects.count() == 0


def test_unknown_choices_are_refused_at_their_fields(
    staff: Client, employee: Account, fleet: Host
) -> None:
    data = {**form_of(staff), "plan": "nope", "image": "nope", "account": "0"}

    response = staff.post(URL, data)

    assert sorted(errors_of(response)) == ["account", "image", "plan"]
    assert Instance.objects.count() == 0


def test_nothing_to_choose_from_says_what_to_add(staff: Client) -> None:
    text = staff.get(URL).content.decode()

    assert "Nothing can be launched yet" in text
    assert "No region is open" in text
    assert "load_catalogue" in text


def test_keys_that_staff_give_are_checked_and_kept(
    staff: Client, fleet: Host, employee: Account, tmp_path: Path, settings: Settings
) -> None:
    settings.IMAGE_FOLDER = str(tmp_path)
    make_disk_image(tmp_path)
    make_plan("disk-plan", cards=0, disk_mib=64)
    order = {**form_of(staff), "plan": "disk-plan", "image": "linode/debian12"}

    refused = staff.post(URL, {**order, "authorized_keys": "nonsense"})
    assert list(errors_of(refused)) == ["authorized_keys"]
    accepted = staff.post(URL, {**order, "authorized_keys": f"\n{ED25519}\n"})

    assert accepted.status_code == 302
    assert SeedSettings.objects.get().authorized_keys == [ED25519]


@pytest.mark.parametrize("query", ["", "?plan=gpu-2", "?plan=wide"])
def test_it_goes_where_the_page_said_and_leaves_what_it_said(
    query: str, staff: Client, fleet: Host, employee: Account
) -> None:
    # Each best for another plan: one card left on a node, and a node that is whole.
    make_host("host-b", cards_per_node=(1, 2))
    make_plan("wide", cards=3)
    page = staff.get(URL + query)
    foresight, rows = page.context["foresight"], page.context["rows"]
    data = form_of(staff, query)

    sent = staff.post(URL, data)

    assert sent.status_code == 302, errors_of(sent)
    instance = Instance.objects.get()
    (host,) = {claim.card.host.name for claim in claims_of(instance)}
    assert foresight.host.name == host
    assert f">{host}</a>, NUMA node" in page.text
    assert foresight.cards == instance.plan.cards == len(claims_of(instance))
    assert foresight.nodes == sorted(
        {claim.card.numa_node.number for claim in claims_of(instance)}
    )
    after = {c.plan.slug: c.fits for c in staff.get(URL).context["choices"].plans}
    assert {choice.plan.slug: left for choice, left in rows} == after


def claims_of(instance: Instance) -> list[CardClaim]:
    claims = CardClaim.objects.filter(consumer=instance.uuid)
    return list(claims.select_related("card__host", "card__numa_node"))


def test_plan_that_fits_nowhere_is_said_before_the_click(
    staff: Client, fleet: Host, employee: Account
) -> None:
    make_plan("too-big", label="Too big", cards=4, vcpus=99)

    page = staff.get(f"{URL}?plan=too-big")

    assert page.context["foresight"] is None
    assert "<strong>Too big</strong> fits nowhere here now" in page.text
    assert "Left after" not in page.text
