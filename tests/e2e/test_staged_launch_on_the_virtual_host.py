"""A product's whole way: dark, employees, report, decision, launch, kill, and back."""

import json
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from linode_api4 import LinodeClient
from playwright.sync_api import Page, expect

from inventory.hypervisor.port import DomainState
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.e2e.conftest import Stack
from tests.e2e.observing import eventually, rows
from tests.e2e.test_admin_in_the_browser import browser, page
from tests.e2e.test_launch_on_the_virtual_host import LAUNCH_S, Customer, hypervisor
from tests.e2e.test_sdk_on_the_virtual_host import PASSWORD

__all__ = ["browser", "hypervisor", "page"]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.gpuhost,
    pytest.mark.usefixtures("unsanitised"),
]
FLAG, PLAN, UNKNOWN = "next-cards", "next-gpu-rtx6000-1", "next-gpu-rtx6000-9"
# The host has other tests' faults and checks in its history; they are not the product's.
_THRESHOLDS = {
    "launches": 1, "success": 100, "time_p50": LAUNCH_S, "time_p95": LAUNCH_S,
    "failures": 0, "card_faults": 999, "check_failures": 999, "discrepancies": 999,
    "refusals": 0, "hours": 0, "accounts": 1, "feedback": 100,
}  # fmt: skip
_FLAGS = "__import__('flags.changes').changes"
_MODELS = "__import__('flags.models').models"


@pytest.fixture
def flag_id(stack: Stack) -> Iterator[int]:
    """Give a flag that nobody has yet, with a plan and a beta for employees behind it."""
    stack.wait_for_cards()
    why = f"{_FLAGS}.Why('user:test', 'the next cards')"
    pk = rows(stack, f"{_FLAGS}.create('{FLAG}', '', {why}).pk")
    rows(
        stack,
        "Plan.objects.create(slug='" + PLAN + "', label='Next', plan_class='gpu', "
        "cards=1, gpu_model=GpuModel.objects.get(slug='rtx6000'), vcpus=1, "
        "memory_mib=256, disk_mib=0, price_hourly=0, price_monthly=0, "
        f"position=99, flag_name='{FLAG}').pk",
    )
    rows(
        stack,
        f"{_MODELS}.Beta.objects.create(slug='{FLAG}', label='Next cards', "
        f"flag_id={pk}, account_tags=['employee'], "
        "started_at='2026-01-01T00:00Z').pk",
    )
    for line, bound in _THRESHOLDS.items():
        threshold = f"flag_id={pk}, line='{line}', bound={bound}"
        rows(stack, f"{_MODELS}.ReadinessThreshold.objects.create({threshold}).pk")
    yield pk
    rows(stack, f"Plan.objects.filter(slug='{PLAN}').update(is_sold=False)")
    for owner in ("employee", "customer"):
        client = Customer(stack, owner)
        for instance in client.call("GET", "/v4/linode/instances")[1]["data"]:
            client.call("DELETE", f"/v4/linode/instances/{instance['id']}")
            client.wait_gone(instance["id"])


def refusal(stack: Stack, plan: str) -> tuple[int, bytes]:
    """Return what a customer's create is answered, byte for byte."""
    body = {"type": plan, "region": "us-east", "image": "gpucloud/probe"}
    request = Request(  # noqa: S310 -- loopback
        f"{stack.url}/v4/linode/instances",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {stack.tokens['customer']}",
            "Content-Type": "application/json",
        },
    )
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=60)  # noqa: S310
    return refused.value.code, refused.value.read()


def is_dark(stack: Stack) -> bool:
    """Say whether the product is nothing that a customer could tell from no product."""
    _, types = Customer(stack, "customer").call("GET", "/v4/linode/types")
    is_listed = PLAN in {plan["id"] for plan in types["data"]}
    return not is_listed and refusal(stack, PLAN) == refusal(stack, UNKNOWN)


def reports(page: Page, stack: Stack, flag_id: int, **states: str) -> None:
    page.goto(f"{stack.url}/admin/readiness/{flag_id}/")
    for line, state in states.items():
        expect(page.locator(f"#line-{line}")).to_contain_text(state)


def press(page: Page, button: str, reason: str, confirm: str) -> None:
    """Press a button of the flag's page, say why in the dialog, and confirm."""
    page.get_by_label(button, exact=True).first.click()
    page.locator("#modal-content input[name=reason]").fill(reason)
    page.locator("#modal-content").get_by_role("button", name=confirm).click()


def opts_in_and_launches(stack: Stack) -> int:
    """Have the employee do by the SDK what customers do; returns the running instance."""
    sdk = LinodeClient(stack.tokens["employee"], base_url=f"{stack.url}/v4")
    sdk.account.join_beta_program(FLAG)
    poller = sdk.polling.event_poller_create("linode", "linode_boot")
    made = sdk.linode.instance_create(
        PLAN, "us-east", image="gpucloud/probe", root_pass=PASSWORD
    )
    poller.set_entity_id(made.id)
    poller.wait_for_next_event_finished(timeout=LAUNCH_S, interval=1)
    sdk.put(
        f"/gpucloud/instances/{made.id}/feedback",
        data={"workload": "rendering", "would_use_again": True},
    )
    sdk.session.close()
    return int(made.id)


def decide_and_launch(page: Page) -> None:
    """Go from a green report to everyone."""
    page.locator("select[name=verdict]").select_option("go")
    page.get_by_role("button", name="Record the decision").click()
    expect(page.locator("#decisions")).to_contain_text("go, user:")
    page.get_by_role("link", name="Launch", exact=True).last.click()
    row = page.locator("#offer tr", has_text=PLAN).filter(has_text="us-east")

    def fits() -> str:
        page.reload()
        return row.locator("td").nth(2).inner_text()

    # The employee has one of the four; a host that was not just seen sells nothing.
    eventually(lambda: fits() == "3", "three more are offered")
    expect(page.locator("#askers")).to_contain_text("1 account asked to be told")
    page.locator("input[name=reason]").fill("a month without a fault")
    page.get_by_role("button", name="Launch for everyone").click()
    expect(page.locator("body")).to_contain_text(f"{FLAG} is changed, from")


def test_dark_to_employees_to_everyone_and_back(
    page: Page, stack: Stack, flag_id: int, hypervisor: SupervisedHypervisor
) -> None:
    customer, employee = Customer(stack, "customer"), Customer(stack, "employee")
    assert is_dark(stack)
    reports(page, stack, flag_id, launches="red", success="no data", hours="green")

    tried = opts_in_and_launches(stack)
    assert is_dark(stack)
    reports(page, stack, flag_id, **dict.fromkeys(_THRESHOLDS, "green"))

    decide_and_launch(page)
    bought = customer.create(1, type=PLAN)["id"]
    customer.wait_for(bought, "running")
    told = f"Event.objects.filter(action='gpu_product_launched', message__contains='{PLAN}')"
    owners = f"list({told}.values_list('account__name', flat=True))"
    eventually(lambda: rows(stack, owners) == ["Employee lab"], "who asked is told")

    # Killed it is dark at once, and what runs goes on.
    press(page, "Kill this flag", "smoke", "Kill")
    expect(page.locator("body")).to_contain_text(f"{FLAG} is killed, from")
    assert is_dark(stack)
    for owner, instance_id in ((employee, tried), (customer, bought)):
        uuid = rows(stack, f"str(Instance.objects.get(pk={instance_id}).uuid)")
        assert hypervisor.domain_state(uuid) is DomainState.RUNNING
        owner.wait_for(instance_id, "running")

    # Taken back it is launched again; then it is for those who had it before the launch.
    press(page, "Take the kill back", "it was a candle", "Take back")
    expect(page.locator("body")).to_contain_text(f"{FLAG} is kill taken back, from")
    assert customer.call("GET", f"/v4/linode/types/{PLAN}")[0] == 200
    page.get_by_role("link", name="Take the launch back").click()
    page.locator("input[name=reason]").fill("until the next cards are there")
    page.get_by_role("button", name="Take the launch back").click()
    expect(page.locator("body")).to_contain_text(f"{FLAG} is changed, from")
    assert is_dark(stack)
    assert employee.call("GET", f"/v4/linode/types/{PLAN}")[0] == 200
    assert rows(stack, owners) == ["Employee lab"]
