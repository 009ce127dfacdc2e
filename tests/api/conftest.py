"""A customer for whom the GPU flag is open, one for whom it is shut, and a shop."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from instances.models import Plan
from tests.api.builders import ORDER, SECRET, ApiClient, Customer, make_customer
from tests.builders import (
    GPU_FLAG,
    make_disk_image,
    make_flag,
    make_host,
    make_image,
    make_plan,
    make_region,
)


@pytest.fixture
def anyone() -> ApiClient:
    return ApiClient()


@pytest.fixture
def customer(db: None) -> Customer:
    """Give a customer for whom the GPU flag is open."""
    customer = make_customer("carol")
    make_flag(accounts=(customer.account,))
    return customer


@pytest.fixture
def outsider(customer: Customer) -> Customer:
    """Give a customer for whom the GPU flag is shut."""
    return make_customer("oscar")


@pytest.fixture
def shop(db: None) -> dict[str, Plan]:
    """Give one region with four cards, one without, a plan with and one without a card."""
    region = make_region("us-east")
    make_region("ap-west", label="Mumbai, IN", country="in")
    make_host(region=region)
    make_image()
    return {
        "plain": make_plan(
            "g6-standard-2", cards=0, memory_mib=128, label="Linode 4GB", position=1
        ),
        "gpu": make_plan("g1-gpu-rtx6000-1", flag_name=GPU_FLAG, position=2),
    }


@pytest.fixture
def with_a_disk(
    shop: dict[str, Plan], tmp_path: Path, settings: Settings
) -> Callable[[Customer], int]:
    """Give a maker of a customer's instance that boots from a disk of its own."""
    settings.IMAGE_FOLDER = str(tmp_path)
    settings.SHUTDOWN_GRACE_S = 0
    # Without cards it comes first, and has room for two plans at once.
    make_host(cards_per_node=(0,), cores_per_node=8, memory_mib=4096)
    make_plan("disk-plan", cards=0, memory_mib=128, disk_mib=64)
    make_plan("larger-plan", cards=0, memory_mib=256, disk_mib=128)
    image = make_disk_image(tmp_path)

    def make(customer: Customer) -> int:
        order = {**ORDER, "type": "disk-plan", "image": image.slug, "root_pass": SECRET}
        return int(customer.api.post("/linode/instances", order).json()["id"])

    return make
