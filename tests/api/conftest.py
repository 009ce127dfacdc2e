"""A customer for whom the GPU flag is open, one for whom it is shut, and a shop."""

import pytest

from instances.models import Plan
from tests.api.builders import ApiClient, Customer, make_customer
from tests.builders import (
    GPU_FLAG,
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
