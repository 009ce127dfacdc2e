"""What is asked of a host before it is enrolled, and the guest that leaves nothing."""

import io
import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from inventory import host_check
from inventory.choices import CardCondition
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.free_host import free_host
from inventory.host_check import TrialOrder, check_host
from inventory.hypervisor.console import CONSOLE_FOLDER
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import parse_domain
from inventory.ledger import Actor, change_condition, claim
from inventory.models import Card, Host
from inventory.preflight import CheckLine, Verdict
from inventory.topology import NodeShare
from tests.builders import make_card, make_gpu_model, make_host
from tests.gpuhost.host import VirtualGpuHost
from tests.simulated import Faulty, SimulatedHypervisor, stranger_on

URI = "qemu+tls://gpu1.example.net/system"
HOST_UUID = "3e8ee270-efbc-5380-9b18-574472d967a6"
CARDS = ["0000:21:00.0", "0000:22:00.0", "0000:61:00.0", "0000:62:00.0"]


@pytest.fixture(autouse=True)
def lab(settings: Any, db: None) -> None:
    settings.LAB = True
    make_gpu_model()


def named(lines: list[CheckLine], name: str) -> CheckLine:
    (line,) = (line for line in lines if line.name == name)
    return line


def used_card(started: list[str]) -> str:
    """Return the slot that the only guest was given."""
    (document,) = started
    (address,) = parse_domain(document).hostdevs
    return address.slot_path


@pytest.fixture
def started(
    simulated_host: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Give the documents of all guests that were started."""
    documents: list[str] = []
    start = simulated_host.start_domain

    def remember(uuid: str) -> None:
        documents.append(simulated_host.documents[uuid])
        start(uuid)

    monkeypatch.setattr(simulated_host, "start_domain", remember)
    return documents


def test_recorded_host_is_fit(simulated_host: SimulatedHypervisor) -> None:
    lines = check_host(URI, hypervisor=simulated_host)

    assert [x.name for x in lines if x.verdict is not Verdict.PASS] == [
        "kvm",
        "memlock",
        "interrupt remapping",
        "clock",
    ]
    assert (Host.objects.count(), simulated_host.states) == (0, {})


def test_guest_proves_what_is_not_told_and_leaves_nothing(
    simulated_host: SimulatedHypervisor, started: list[str]
) -> None:
    lines = check_host(URI, trial=TrialOrder(), hypervisor=simulated_host)

    assert named(lines, "memlock").text == "a guest with 0000:21:00 was seen running"
    assert named(lines, "interrupt remapping").verdict is Verdict.PASS
    assert "allow_unsafe_interrupts" in named(lines, "interrupt remapping").text
    assert named(lines, "clock").verdict is Verdict.PASS
    assert used_card(started) == "0000:21:00"
    assert "/var/lib/libvirt/images/check.elf" in started[0]
    assert (simulated_host.states, simulated_host.documents) == ({}, {})
    assert set(simulated_host.volumes) == {("gpucloud-console", "")}


def test_kernel_may_be_named(
    simulated_host: SimulatedHypervisor, started: list[str]
) -> None:
    check_host(URI, trial=TrialOrder("/boot/mine"), hypervisor=simulated_host)

    assert "<kernel>/boot/mine</kernel>" in started[0]


def test_model_without_a_test_image_needs_a_kernel(
    simulated_host: SimulatedHypervisor, started: list[str]
) -> None:
    model = make_gpu_model()
    model.test_image = None
    model.save()

    lines = check_host(URI, trial=TrialOrder(), hypervisor=simulated_host)

    assert named(lines, "guest").verdict is Verdict.WARN
    assert "give --kernel" in named(lines, "guest").text
    assert started == []


@pytest.mark.parametrize("state", [DomainState.RUNNING, DomainState.OFF])
def test_card_of_a_domain_is_left_alone(
    simulated_host: SimulatedHypervisor, started: list[str], state: DomainState
) -> None:
    stranger = str(uuid.uuid4())
    simulated_host.define_domain(stranger_on(CARDS[0], stranger))
    simulated_host.states[stranger] = state

    check_host(URI, trial=TrialOrder(), hypervisor=simulated_host)

    assert used_card(started) == "0000:22:00"
    assert simulated_host.states == {stranger: state}


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        (CardCondition.READY, "0000:62:00"),
        (CardCondition.UNVERIFIED, "0000:62:00"),
    ],
)
def test_card_that_is_not_enrolled_is_taken_first(
    simulated_host: SimulatedHypervisor,
    started: list[str],
    condition: CardCondition,
    chosen: str,
) -> None:
    host = make_host(cards_per_node=(0, 0), host_uuid=HOST_UUID)
    node = host.nodes.get(number=0)
    for slot in ("0000:21:00", "0000:22:00", "0000:61:00"):
        make_card(node, slot, condition=condition)

    check_host(URI, trial=TrialOrder(), hypervisor=simulated_host)

    assert used_card(started) == chosen


def test_cards_for_sale_and_claimed_ones_are_never_taken(
    simulated_host: SimulatedHypervisor, started: list[str]
) -> None:
    host = make_host(host_uuid=HOST_UUID, cards_per_node=(1, 0))
    (claimed,) = host.cards.all()
    share = NodeShare(node=0, card_ids=(claimed.pk,), cpus=(0,), vcpus=1, memory_mib=64)
    tester = Actor("test:it", "a test")
    with transaction.atomic():
        claim(free_host(host.pk), [share], uuid.uuid4(), tester)
        change_condition(claimed, CardCondition.DIRTY, tester)
    node = host.nodes.get(number=0)
    for slot, condition in (
        ("0000:22:00", CardCondition.READY),
        ("0000:61:00", CardCondition.QUARANTINED),
        ("0000:62:00", CardCondition.READY),
    ):
        make_card(node, slot, condition=condition)

    lines = check_host(URI, trial=TrialOrder(), hypervisor=simulated_host)

    assert named(lines, "guest").verdict is Verdict.WARN
    assert "not tried: every card is in use" in named(lines, "guest").text
    assert started == []
    conditions = Card.objects.order_by("slot_path").values_list("condition", flat=True)
    assert list(conditions) == ["dirty", "ready", "quarantined", "ready"]


def test_card_may_be_named(
    simulated_host: SimulatedHypervisor, started: list[str]
) -> None:
    order = TrialOrder(card="0000:61:00")

    lines = check_host(URI, trial=order, hypervisor=simulated_host)

    assert named(lines, "memlock").text == "a guest with 0000:61:00 was seen running"
    assert used_card(started) == "0000:61:00"


@pytest.mark.parametrize("slot", ["0000:21:00", "0000:99:00"])
def test_named_card_that_is_used_or_not_there_is_refused(
    simulated_host: SimulatedHypervisor, started: list[str], slot: str
) -> None:
    stranger = str(uuid.uuid4())
    simulated_host.define_domain(stranger_on(CARDS[0], stranger))

    lines = check_host(URI, trial=TrialOrder(card=slot), hypervisor=simulated_host)

    assert named(lines, "guest").verdict is Verdict.WARN
    assert named(lines, "guest").text.startswith(f"not tried: {slot} is in use, ")
    assert started == []


def test_refused_start_is_quoted_and_leaves_nothing(
    simulated_host: SimulatedHypervisor,
) -> None:
    def refuse(method: str) -> None:
        if method == "start_domain":
            raise HypervisorError("vfio 0000:21:00.0: group 13 is not viable", 1)

    faulty: Any = Faulty(simulated_host, refuse)
    lines = check_host(URI, trial=TrialOrder(), hypervisor=faulty)

    assert named(lines, "guest").verdict is Verdict.FAIL
    assert named(lines, "guest").text == (
        "0000:21:00: vfio 0000:21:00.0: group 13 is not viable"
    )
    assert simulated_host.states == {}


def test_guest_that_cannot_be_removed_is_told(
    simulated_host: SimulatedHypervisor,
) -> None:
    def refuse(method: str) -> None:
        if method == "destroy_domain":
            raise HypervisorError("cannot kill it", 38)

    faulty: Any = Faulty(simulated_host, refuse)
    lines = check_host(URI, trial=TrialOrder(), hypervisor=faulty)

    assert named(lines, "guest").verdict is Verdict.FAIL
    assert named(lines, "guest").text.endswith("left on the host: cannot kill it")


def test_interrupted_check_removes_its_guest(
    simulated_host: SimulatedHypervisor,
) -> None:
    def interrupt(method: str) -> None:
        if method == "domain_state":
            raise KeyboardInterrupt

    faulty: Any = Faulty(simulated_host, interrupt)
    with pytest.raises(KeyboardInterrupt):
        check_host(URI, trial=TrialOrder(), hypervisor=faulty)

    assert simulated_host.states == {}


READS = (
    "versions", "capabilities", "pci_devices", "domain_capabilities",
    "domain_documents", "ensure_folder_pool", "define_domain", "start_domain",
    "domain_state", "free_pages", "pools", "networks", "clock", "delete_volume",
)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "error"),
    list(itertools.product(READS, (HypervisorError, HostUnreachable))),
)
def test_every_refusal_is_a_line_and_never_a_traceback(
    simulated_host: SimulatedHypervisor, method: str, error: type[HypervisorError]
) -> None:
    simulated_host._capabilities = simulated_host.capabilities().replace(
        "size='2048'>0<", "size='2048'>8<"
    )

    def refuse(called: str) -> None:
        if called == method:
            raise error("no, thank you", 1)

    faulty: Any = Faulty(simulated_host, refuse)
    lines = check_host(URI, trial=TrialOrder(), hypervisor=faulty)

    assert any("no, thank you" in line.text for line in lines)
    assert simulated_host.states == {}


def test_silent_host_is_asked_no_more(simulated_host: SimulatedHypervisor) -> None:
    asked: list[str] = []

    def fall_silent(method: str) -> None:
        asked.append(method)
        raise HostUnreachable("no answer in time")

    faulty: Any = Faulty(simulated_host, fall_silent)
    (line,) = check_host(URI, trial=TrialOrder(), hypervisor=faulty)

    assert asked == ["versions"]
    assert (line.name, line.verdict) == ("connection", Verdict.FAIL)
    assert "no answer in time" in line.text


def run(*arguments: str) -> tuple[int, str]:
    """Return the command's exit status and what it printed."""
    out = io.StringIO()
    try:
        call_command("check_host", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def test_command_exits_with_1_if_anything_fails(
    simulated_host: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_check, "open_own", lambda _: simulated_host)

    status, told = run(URI)
    assert status == 0
    assert told.endswith("18 passed, 4 warnings, 0 failed\n")

    simulated_host.pci_backends = ("default",)
    status, told = run(URI)
    assert status == 1
    assert "fail  vfio: libvirt does not offer vfio for PCI devices\n      -> " in told
    assert told.endswith("17 passed, 4 warnings, 1 failed")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--start-guest", "--card", "21:00.0"), "no PCI address"),
        (("--card", "0000:21:00.0"), "add --start-guest"),
    ],
)
def test_command_refuses_half_an_order(arguments: tuple[str, ...], word: str) -> None:
    status, told = run(URI, *arguments)

    assert status == 1
    assert word in told


def test_command_says_what_to_look_at_when_nobody_answers() -> None:
    status, told = run("qemu+tcp://127.0.0.1:1/system")

    assert status == 1
    assert told.startswith("fail  connection: qemu+tcp://127.0.0.1:1/system does not")
    assert "libvirtd-tcp.socket" in told


@pytest.fixture
def virtual(
    clean_virtual_host: VirtualGpuHost,
) -> Iterator[tuple[str, SupervisedHypervisor]]:
    uri = clean_virtual_host.running().libvirt_uri
    hypervisor = SupervisedHypervisor(uri)
    yield uri, hypervisor
    hypervisor.close()


@pytest.mark.gpuhost
def test_guest_runs_on_the_virtual_host_and_leaves_nothing_behind(
    virtual: tuple[str, SupervisedHypervisor], clean_virtual_host: VirtualGpuHost
) -> None:
    uri, hypervisor = virtual
    kernel = "/var/lib/libvirt/images/probe.elf"

    status, told = run(uri, "--start-guest", "--kernel", kernel)

    assert status == 0, told
    assert "pass  memlock: a guest with 0000:21:00 was seen running" in told
    assert "pass  clock: " in told
    assert "20 passed, 2 warnings, 0 failed" in told
    assert hypervisor.domains() == {}
    assert clean_virtual_host.shell(f"ls {CONSOLE_FOLDER}").strip() == ""


@pytest.mark.gpuhost
def test_kernel_that_is_not_there_fails_with_a_hint(
    virtual: tuple[str, SupervisedHypervisor],
) -> None:
    uri, hypervisor = virtual

    status, told = run(uri, "--start-guest", "--kernel", "/nowhere/vmlinuz")

    assert status == 1
    assert "fail  guest: 0000:21:00: " in told
    assert "Name another one with --kernel" in told
    assert hypervisor.domains() == {}
