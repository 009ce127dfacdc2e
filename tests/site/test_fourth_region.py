"""A region more is data: staff add it, enrol its hosts, hide, open, close and remove it.

What the catalogue knows is Newark, Mumbai and Singapore. Nothing here but the words that
staff type knows of the fourth, and everything that tells of regions must.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from instances.models import Account, Instance, Job
from inventory.hypervisor import schemes
from inventory.models import Host, Region
from tests.admin.conftest import errors_of, staff
from tests.admin.test_launch_page import form_of
from tests.api.builders import Customer, make_customer, work
from tests.api.builders import errors_of as refusals_of
from tests.builders import GPU_FLAG, make_flag
from tests.instances.test_card_checks import check_all
from tests.simulated_hosts import HostStore, SharedHypervisor, answer_from
from tests.simulated_hosts.board import Board
from tests.simulated_hosts.fleet import FleetOrder, simulate
from tests.simulated_hosts.store import NETWORK
from tests.site.test_metrics_equal_the_page import assert_metrics_are_the_page
from tests.site.test_monitoring import scraped

__all__ = ["staff"]
pytestmark = pytest.mark.django_db(transaction=True)

FOURTH = "eu-central"
THREE = {"ap-south", "ap-west", "us-east"}
ALL = {*THREE, FOURTH}
FLAG = "frankfurt"
FORM = {"slug": FOURTH, "label": "Frankfurt, DE", "country": "de", "is_open": "on"}
ORDER = {
    "type": "lab-gpu-rtx6000-1",
    "region": FOURTH,
    "image": "gpucloud/probe",
}


def _listed(path: str, key: str) -> Callable[[Customer], set[str]]:
    def look(customer: Customer) -> set[str]:
        return {row[key] for row in customer.api.get(path).json()["data"]}

    return look


# What customers are told of regions, and what staff are: name -> the regions named there.
TOLD: dict[str, Callable[[Customer], set[str]]] = {
    "regions": _listed("/regions?page_size=500", "id"),
    "availability": _listed("/regions/availability?page_size=500", "region"),
    "of the account": _listed("/account/availability?page_size=500", "region"),
    "inventory": _listed("/gpucloud/inventory?page_size=500", "region"),
}
SHOWN: dict[str, Callable[[Client], set[str]]] = {
    "first page": lambda staff: {
        row.region.slug for row in staff.get("/admin/").context["region_rows"]
    },
    "launch page": lambda staff: {
        region.slug for region in staff.get("/admin/launch/").context["choices"].regions
    },
    "capacity page": lambda staff: {
        region.slug
        for region in staff.get("/admin/capacity/")
        .context["form"]
        .fields["region"]
        .queryset
    },
    "metrics": lambda _: {
        dict(labels)["region"]
        for name, labels in scraped()
        if name == "gpucloud_plan_sellable"
    },
}


def in_all(names: Iterable[str], regions: set[str]) -> dict[str, set[str]]:
    return dict.fromkeys(names, regions)


def told_to(customer: Customer) -> dict[str, set[str]]:
    return {name: look(customer) for name, look in TOLD.items()}


def shown_to(staff: Client) -> dict[str, set[str]]:
    return {name: look(staff) for name, look in SHOWN.items()}


def reported(staff: Client) -> set[str]:
    """Return the regions of the inventory report, which tells of cards alone."""
    rows = staff.get("/admin/reports/inventory/").context["rows"]
    return {row["cells"][0][1] for row in rows}


@dataclass(frozen=True)
class Company:
    """The three regions with a host in Newark, and who is to see the fourth when.

    pioneer: is on the list of the fourth's flag; public: is not.
    """

    staff: Client
    folder: Path
    pioneer: Customer
    public: Customer

    def add_region(self, **form: str) -> Region:
        answer = self.staff.post("/admin/inventory/region/add/", {**FORM, **form})
        assert answer.status_code == 302, errors_of(answer)
        return Region.objects.get(slug=form.get("slug", FOURTH))

    def change_region(self, **form: str) -> None:
        region = Region.objects.get(slug=FOURTH)
        path = f"/admin/inventory/region/{region.pk}/change/"
        answer = self.staff.post(path, {**FORM, **form})
        assert answer.status_code == 302, errors_of(answer)

    def remove_region(self, slug: str) -> bool:
        """Press Delete in the admin, and say whether it is gone."""
        region = Region.objects.get(slug=slug)
        path = f"/admin/inventory/region/{region.pk}/delete/"
        self.staff.post(path, {"post": "yes"})
        return not Region.objects.filter(pk=region.pk).exists()

    def enrol(self, name: str) -> SharedHypervisor:
        """Take a host of the fourth region into the fleet as docs/release.md tells."""
        store = HostStore(self.folder, name)
        store.create(Board(1, 2))
        call_command("enrol_host", store.uri, "--region", FOURTH, "--name", name)
        call_command(
            *("set_up_guests", name, "--network", NETWORK, "--subnet", "10.9.1.0/24"),
            *("--first", "10.9.1.10", "--last", "10.9.1.20", "--gateway", "10.9.1.1"),
        )
        machine = SharedHypervisor(store)
        check_all(Host.objects.get(name=name), machine)
        return machine

    def empty(
        self, name: str, machine: SharedHypervisor, left: dict[Customer, Instance]
    ) -> None:
        """Have customers delete what is left on a host, and retire it."""
        for customer, instance in left.items():
            path = f"/linode/instances/{instance.pk}"
            assert customer.api.delete(path).status_code == 200
        work(machine)  # type: ignore[arg-type]
        host = Host.objects.get(name=name)
        check_all(host, machine)
        form = {"_form_submitted": "1", "reason": "the hall's lease ends"}
        self.staff.post(f"/admin/inventory/host/{host.pk}/retire_host/", form)
        host.refresh_from_db()
        assert host.policy == "retired"

    def launched(self, customer: Customer, machine: SharedHypervisor) -> Instance:
        made = customer.api.post("/linode/instances", ORDER)
        assert made.status_code == 200, made.content
        work(machine)  # type: ignore[arg-type]
        instance = Instance.objects.get(pk=made.json()["id"])
        assert (instance.phase, instance.region.slug) == ("running", FOURTH)
        return instance


@pytest.fixture
def company(
    staff: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Company:
    settings.LAB = True
    settings.API_RATE_LIMIT = 0
    monkeypatch.setattr(schemes, "_openers", {})
    answer_from(tmp_path)
    call_command("load_catalogue", "--lab")
    make_flag(GPU_FLAG, everyone=True)
    list(simulate(FleetOrder(1, Board(2, 2), prefix="newark"), tmp_path))
    return Company(staff, tmp_path, make_customer("pia"), make_customer("paul"))


def test_fourth_region_is_added_sold_closed_and_kept_as_data(company: Company) -> None:
    staff, pioneer, public = company.staff, company.pioneer, company.public
    assert told_to(public) == in_all(TOLD, THREE)
    assert shown_to(staff) == in_all(SHOWN, THREE)

    # Added behind a flag: staff work with it, who is on the list buys, nobody else knows.
    make_flag(FLAG, accounts=(pioneer.account,))
    company.add_region(flag_name=FLAG)
    machine = company.enrol("frankfurt1")
    first = company.launched(pioneer, machine)
    assert told_to(pioneer) == in_all(TOLD, ALL)
    assert_told_to_staff(staff, ALL)
    assert_unknown_to(public)

    # Open to everyone: what the page says can be sold, can.
    make_flag(FLAG, everyone=True)
    assert_sold_to(public)
    assert sellable(staff) == 1
    second = company.launched(public, machine)
    assert sellable(staff) == 0
    assert_sold_out_for(public)
    assert_told_to_staff(staff, ALL)

    # Closed: nothing new, and what runs goes on and is its customer's as before.
    company.change_region(is_open="")
    assert_unknown_to(pioneer, public)
    assert_told_to_staff(staff, THREE)
    assert_still_served(pioneer, first, machine)

    # Emptied, its history names it for ever; a region that nothing names goes.
    company.empty("frankfurt1", machine, {pioneer: first, public: second})
    assert reported(staff) == {"us-east"}
    assert not company.remove_region(FOURTH)
    company.add_region(slug="sa-east", label="São Paulo, BR", country="br")
    assert told_to(public) == in_all(TOLD, {*THREE, "sa-east"})
    assert company.remove_region("sa-east")
    assert told_to(public) == in_all(TOLD, THREE)


def assert_told_to_staff(staff: Client, can_launch_in: set[str]) -> None:
    shown = {**in_all(SHOWN, ALL), "launch page": can_launch_in}
    assert shown_to(staff) == shown
    assert reported(staff) == {"us-east", FOURTH}
    assert_metrics_are_the_page()


def assert_unknown_to(*customers: Customer) -> None:
    for customer in customers:
        assert told_to(customer) == in_all(TOLD, THREE)
        assert customer.api.get(f"/regions/{FOURTH}").status_code == 404
        refused = customer.api.post("/linode/instances", ORDER)
        assert refusals_of(refused) == [("region", "region is not valid")]


def assert_sold_to(customer: Customer) -> None:
    assert told_to(customer) == in_all(TOLD, ALL)
    region = customer.api.get(f"/regions/{FOURTH}").json()
    assert (region["label"], region["country"]) == ("Frankfurt, DE", "de")
    assert "GPU Linodes" in region["capabilities"]


def assert_sold_out_for(customer: Customer) -> None:
    ((field, reason),) = refusals_of(customer.api.post("/linode/instances", ORDER))
    assert field == "region"
    assert f"No GPU capacity is available in {FOURTH}" in reason


def assert_still_served(
    customer: Customer, instance: Instance, machine: SharedHypervisor
) -> None:
    path = f"/linode/instances/{instance.pk}"
    told = customer.api.get(path).json()
    assert (told["status"], told["region"]) == ("running", FOURTH)
    assert customer.api.post(f"{path}/reboot").status_code == 200
    work(machine)  # type: ignore[arg-type]
    reboot = Job.objects.get(instance=instance, kind="reboot")
    assert reboot.state == "succeeded"


def sellable(staff: Client) -> int:
    (row,) = (
        row
        for row in staff.get("/admin/").context["region_rows"]
        if row.region.slug == FOURTH
    )
    return {number.name: int(number.value) for number in row.numbers}["sellable"]


def test_one_click_is_for_an_account_that_the_region_is_open_for(
    company: Company,
) -> None:
    make_flag(FLAG, accounts=(company.pioneer.account,))
    company.add_region(flag_name=FLAG)
    # All cards are there, and an account that it is shut for comes first in the list.
    Host.objects.update(region=Region.objects.get(slug=FOURTH))
    outsider = company.public.account
    Account.objects.filter(pk=outsider.pk).update(name="AAA")
    form = form_of(company.staff)
    assert (form["region"], form["account"]) == (FOURTH, company.pioneer.account.pk)

    refused = company.staff.post("/admin/launch/", {**form, "account": outsider.pk})
    launched = company.staff.post("/admin/launch/", form)

    (reason,) = errors_of(refused)["region"]
    assert f"is not open to AAA: the flag {FLAG} is shut for it." in reason
    assert launched.status_code == 302
    assert Instance.objects.get().account == company.pioneer.account
