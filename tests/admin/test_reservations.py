"""Reservations and quotas in the admin."""

from django.test import Client

from instances.models import Account, GpuQuota, Instance, Plan, Reservation
from inventory.models import CardClaim, Host, Region
from tests.admin.conftest import browser_of
from tests.builders import make_gpu_model


def url_for(account: Account) -> str:
    return f"/admin/instances/account/{account.pk}/reserve/"


def asked(**fields: object) -> dict[str, object]:
    return {
        "_form_submitted": "1",
        "plan": Plan.objects.get(slug="gpu-1").pk,
        "region": Region.objects.get().pk,
        "hours": 2,
        "key": "one",
        **fields,
    }


def test_staff_reserve_for_an_account_once_a_click(
    staff: Client, fleet: Host, employee: Account
) -> None:
    for _ in range(2):
        response = staff.post(url_for(employee), asked())

    row = Reservation.objects.get()
    assert response["Location"] == f"/admin/instances/reservation/{row.pk}/change/"
    assert (row.account, row.state) == (employee, "active")
    assert row.created_by == "user:admin"
    assert CardClaim.objects.get().is_hold
    card = CardClaim.objects.get().card
    holder = staff.get(f"/admin/consumer/{row.uuid}/")
    assert holder["Location"] == f"/admin/instances/reservation/{row.pk}/change/"
    page = staff.get(f"/admin/inventory/host/{card.host_id}/change/").content.decode()
    assert f"Reservation {row.pk} (Lab)" in page


def test_what_the_action_refuses_is_told(
    staff: Client, fleet: Host, employee: Account
) -> None:
    GpuQuota.objects.create(account=employee, gpu_model=make_gpu_model(), cards=0)

    response = staff.post(url_for(employee), asked(), follow=True)

    assert "Nothing was reserved: Account Limit reached." in response.content.decode()
    assert not Reservation.objects.exists()
    too_long = staff.post(url_for(employee), asked(hours=1000))
    assert "At most 168 hours." in too_long.content.decode()


def test_staff_release_a_reservation(
    staff: Client, fleet: Host, employee: Account
) -> None:
    staff.post(url_for(employee), asked())
    row = Reservation.objects.get()
    url = f"/admin/instances/reservation/{row.pk}/release_reservation/"

    staff.post(url, {"_form_submitted": "1"})

    row.refresh_from_db()
    assert row.state == "released"
    assert not CardClaim.objects.filter(released_at=None).exists()
    again = staff.post(url, {"_form_submitted": "1"}, follow=True)
    assert "This reservation has ended." in again.content.decode()


def test_reserving_needs_its_permission(fleet: Host, employee: Account) -> None:
    browser = browser_of("instances.view_account")

    response = browser.post(url_for(employee), asked())

    assert response.status_code in {302, 403}
    assert not Reservation.objects.exists()


def test_account_page_shows_use_and_quota(staff: Client, instance: Instance) -> None:
    account = instance.account
    GpuQuota.objects.create(account=account, gpu_model=make_gpu_model(), cards=5)

    page = staff.get(f"/admin/instances/account/{account.pk}/change/").content.decode()

    assert "Quadro rtx6000: 1 in use or reserved, allowed: 5" in page
