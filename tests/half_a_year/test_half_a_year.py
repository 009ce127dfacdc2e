"""`make soak-simulated CYCLES=10000`: half a year of work, and no table grows for ever.

The product's own schedules, queue, jobs, comparison and retention run in this process
under a simulated clock; customers come by the API. A short run is part of the suite.
GPUCLOUD_HALF_A_YEAR_CYCLES and GPUCLOUD_HALF_A_YEAR_SEED say how many cycles, and which.
"""

import logging
import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django import conf
from django.contrib.auth.models import User
from django.core.management import call_command
from pytest_django import Settings

from instances import webhooks
from instances.models import (
    Instance,
    Invoice,
    InvoicedMonth,
    InvoiceItem,
    Job,
    Reservation,
    SeedSettings,
    UsageInterval,
    WaitlistEntry,
)
from instances.retention import KEPT_FOR_EVER
from instances.tasks import ensure_schedules
from inventory.choices import CardCondition
from inventory.hypervisor import schemes, supervised
from inventory.models import (
    AddressClaim,
    Card,
    CardCheck,
    CardClaim,
    CardEvent,
    Discrepancy,
    Host,
    NodeClaim,
)
from tests.api.builders import make_customer
from tests.builders import (
    GPU_FLAG,
    make_disk_image,
    make_flag,
    make_network,
    make_plan,
)
from tests.half_a_year.clock import simulated_clock
from tests.half_a_year.growth import growing, memory_mib, rows_by_table
from tests.half_a_year.life import INSTANCES, Life
from tests.instances.simulated_fleet import make_site
from tests.instances.soundness import assert_agreement

logger = logging.getLogger(__name__)
IS_LONG = "GPUCLOUD_HALF_A_YEAR_CYCLES" in os.environ
CYCLES = int(os.environ.get("GPUCLOUD_HALF_A_YEAR_CYCLES", "60"))
SEED = int(os.environ.get("GPUCLOUD_HALF_A_YEAR_SEED", "1"))
DAY_S = 86400
# The short run has a seventh of the time, and of what is kept.
DAYS, KEPT_DAYS = (182, 28) if IS_LONG else (26, 4)
MONTHS = 6
LOOKS = 60
# Claims, ledger, evidence, usage, and whose they are: never forgotten.
HISTORY = (
    *(AddressClaim, CardCheck, CardClaim, CardEvent, Instance, NodeClaim),
    *(Reservation, UsageInterval, WaitlistEntry),
    *(Invoice, InvoicedMonth, InvoiceItem),
)
MOST_MIB = 8


@pytest.fixture
def life(
    transactional_db: None,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    admin_user: User,
) -> Iterator[Life]:
    """Give two hosts of four cards, five plans, a disk image, a customer and staff."""
    for name in dir(conf.settings):
        if re.fullmatch("KEEP_.*_DAYS", name):
            setattr(settings, name, KEPT_DAYS)
    settings.LAB = True
    settings.IMAGE_FOLDER = str(tmp_path)
    with _quiet(), simulated_clock(monkeypatch) as clock:
        ensure_schedules()
        sites = [make_site(number) for number in (1, 2)]
        for number, site in enumerate(sites):
            make_network(
                Host.objects.get(pk=site.host_id), third=number, first=2, last=250
            )
        make_disk_image(tmp_path)
        make_flag(everyone=True)
        sizes = {"flag_name": GPU_FLAG, "disk_mib": 64}
        plans = [make_plan(f"gpu-{n}", cards=n, **sizes).slug for n in (1, 2, 4, 8)]
        plain = make_plan("plain", cards=0, memory_mib=128, disk_mib=64).slug
        made = Life(
            clock=clock,
            sites=sites,
            customer=make_customer("carol"),
            staff=admin_user,
            plans=[plain, *plans],
            cycle_s=DAYS * DAY_S / CYCLES,
            random=random.Random(SEED),  # noqa: S311 -- no secret
        )
        monkeypatch.setattr(supervised, "_connections", {})
        monkeypatch.setattr(schemes, "_openers", {"qemu+tls": made.connect})
        monkeypatch.setattr(webhooks, "_post", made.receive)
        made.call("POST", "/gpucloud/webhooks", {"url": "https://ops.example.net"})
        yield made
        made.cluster.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Have pytest keep no line of each job of half a year."""
    levels = {"": logging.CRITICAL, "django": logging.CRITICAL} | {
        "django-q": logging.CRITICAL,
        logger.name: logging.INFO,
    }
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def test_half_a_year_leaves_no_table_growing(life: Life) -> None:
    looks, memory = [], []
    for number in range(1, CYCLES + 1):
        life.cycle(number)
        if _is_due(number, LOOKS):
            looks.append(rows_by_table())
            memory.append(memory_mib())
            logger.info("%s: %.1f MiB, %s", number, memory[-1], dict(life.done))
        if _is_due(number, MONTHS):
            _all_is_sound(life)
    _tell(looks, memory)

    assert growing(looks) <= {model._meta.db_table for model in HISTORY}
    assert {model._meta.label for model in HISTORY} <= KEPT_FOR_EVER
    assert _grown_mib(memory) < MOST_MIB
    _all_is_deleted(life)
    assert _left_over(life) == {}
    call_command("verify_ledger")
    call_command("verify_usage")


def _is_due(number: int, times: int) -> bool:
    """Say whether one of `times` parts of all cycles ends with this one."""
    return number * times // CYCLES > (number - 1) * times // CYCLES


def _grown_mib(memory: list[float]) -> float:
    """Return what the months after the first added from their first look to their last.

    Between them all of history is read to be checked, which takes ever more for a moment.
    """
    looks = len(memory) // MONTHS
    return sum(
        memory[first + looks - 1] - memory[first]
        for first in range(looks, looks * MONTHS, looks)
    )


def _tell(looks: list[dict[str, int]], memory: list[float]) -> None:
    ends = [len(looks) * month // MONTHS - 1 for month in range(1, MONTHS + 1)]
    logger.info("| MiB | %s |", " | ".join(f"{memory[end]:.1f}" for end in ends))
    for table in sorted(looks[0]):
        if any(look[table] != looks[0][table] for look in looks):
            told = " | ".join(str(looks[end][table]) for end in ends)
            logger.info("| %s | %s |", table, told)


def _all_is_sound(life: Life) -> None:
    assert_agreement({site.host_id: site.hypervisor for site in life.sites})
    unexpected = Job.objects.filter(internal_detail__contains="Traceback")
    assert list(unexpected.values("kind", "internal_detail")) == []


def _all_is_deleted(life: Life) -> None:
    for instance in life.instances():
        life.call("DELETE", f"{INSTANCES}/{instance['id']}")
    # Reservations end by their time.
    life.pass_time(DAY_S)
    life.settle()
    life.heal()
    life.settle()
    life.pass_time(DAY_S)
    _all_is_sound(life)


def _left_over(life: Life) -> dict[str, Any]:
    """Return what is there although nothing should be, by name."""
    opened = (CardClaim, NodeClaim, AddressClaim)
    found: dict[str, Any] = {
        model.__name__: model.objects.filter(released_at=None).count()
        for model in opened
    }
    found["seed settings"] = SeedSettings.objects.count()
    found["discrepancies"] = list(Discrepancy.objects.filter(resolved_at=None))
    found["cards"] = list(Card.objects.exclude(condition=CardCondition.READY))
    for site in life.sites:
        found[f"domains of {site.uri}"] = site.hypervisor.domains()
        found[f"disks of {site.uri}"] = site.hypervisor.volume_names("gpucloud-disks")
    return {name: what for name, what in found.items() if what}


@pytest.mark.parametrize(
    ("told", "grows"),
    [
        ([10, 20, 30, 40, 50, 60], True),
        ([0, 0, 0, 10, 20, 30], True),
        ([3, 3, 3, 3, 3, 3], False),
        ([50, 100, 110, 95, 120, 100], False),
        ([0, 0, 0, 0, 0, 2], False),
    ],
)
def test_what_counts_as_growth(told: list[int], grows: bool) -> None:
    assert growing([{"a": count} for count in told]) == ({"a"} if grows else set())
