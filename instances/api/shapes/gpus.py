"""An instance's GPUs and what its guest sees of them: gpucloud's own."""

from typing import Annotated, Literal, NotRequired, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc

# inventory.choices.CheckOutcome and ReportedProblem.
Result = Literal["passed", "failed", "skipped"]
ProblemWord = Literal["not_seen", "errors", "memory", "slow", "other"]
_SHA_256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
GpuId = Annotated[
    str,
    Doc(
        "Opaque. The same card has the same id whenever you have it, and another id for "
        "another account.",
        "5f0c4b8e9d2a47c1b6e38a90d1f27c55",
    ),
]
GuestNode = Annotated[int, Doc("NUMA node, as the guest numbers it.", 0)]
HostNode = Annotated[int, Doc("NUMA node, as the host numbers it.", 1)]


class Gpu(TypedDict):
    """A whole GPU that a Linode has to itself."""

    id: GpuId
    model: Annotated[str, Doc("Of /gpucloud/gpu-models.", "rtx6000")]
    label: Annotated[str, Doc("For people.", "RTX 6000")]
    memory_mib: Annotated[int, Doc("Memory on the card, MiB.", 24576)]
    pci_address: Annotated[
        str, Doc("Where the guest finds its main function.", "0000:01:00.0")
    ]
    pci_functions: Annotated[
        list[str],
        Doc("Where the guest finds all of them.", ["0000:01:00.0", "0000:01:00.1"]),
    ]
    node: GuestNode
    host_node: HostNode
    reported: Annotated[
        str | None, Doc("When you reported it as bad, UTC.", "2026-11-24T12:00:00")
    ]


class Pin(TypedDict):
    vcpu: Annotated[int, Doc("As the guest numbers it.", 0)]
    host_cpu: Annotated[int, Doc("The logical CPU that runs it and nothing else.", 4)]


class TopologyGpu(TypedDict):
    id: GpuId
    pci_address: Annotated[str, Doc("In the guest.", "0000:01:00.0")]


class TopologyNode(TypedDict):
    """A NUMA node of the guest; all of it comes from one node of the host."""

    node: GuestNode
    host_node: HostNode
    memory_mib: Annotated[int, Doc("RAM, MiB.", 32768)]
    hugepage_kib: Annotated[
        int, Doc("Size of the pages behind it on the host, KiB; 0: ordinary.", 0)
    ]
    pins: list[Pin]
    gpus: list[TopologyGpu]


class Topology(TypedDict):
    """What a Linode's guest sees of its hardware, and where that is on the host."""

    linode_id: Annotated[int, Doc("The Linode's.", 123)]
    vcpus: Annotated[int, Doc("Of all nodes.", 8)]
    memory_mib: Annotated[int, Doc("Of all nodes, MiB.", 32768)]
    nodes: Annotated[
        list[TopologyNode],
        Doc("Empty once a Linode that is being deleted holds nothing more."),
    ]


class AttestedCheck(TypedDict):
    """One guest of ours that had the card alone."""

    kind: Annotated[
        Literal["wipe", "test"],
        Doc(
            "wipe: all memory overwritten and read back. test: compared with its model."
        ),
    ]
    result: Annotated[Result, Doc("skipped: not done, in a lab only.")]
    begin: Moment
    end: Moment
    bytes: Annotated[
        int | None,
        Doc("Memory that it overwrote or read; null if it told none.", 25769803776),
    ]
    console_digest: Annotated[
        str | None,
        Doc(
            "SHA-256 of all that the guest printed; null if nothing.",
            _SHA_256,
        ),
    ]
    report_digest: Annotated[
        str, Doc("SHA-256 of all that was recorded of the check.", _SHA_256)
    ]


class AttestedGpu(TypedDict):
    """A GPU, and what was done to it since anybody else had it."""

    id: GpuId
    model: Annotated[str, Doc("Of /gpucloud/gpu-models.", "rtx6000")]
    since: Annotated[str, Doc("Kept for you from then on, UTC.", "2026-11-24T12:00:00")]
    was_used: Annotated[bool, Doc("Some machine had it before.", True)]
    is_wiped: Annotated[bool, Doc("A wipe passed, after the last use.", True)]
    is_tested: Annotated[bool, Doc("A test passed, after the last use.", True)]
    checks: Annotated[list[AttestedCheck], Doc("Oldest first; those that failed, too.")]


class Attestation(TypedDict):
    """What was done to a Linode's GPUs before it had them; always the same answer."""

    linode_id: Annotated[int, Doc("The Linode's.", 123)]
    gpus: list[AttestedGpu]
    digest: Annotated[
        str,
        Doc(
            "SHA-256 of this object without digest: keys sorted, no space, UTF-8.",
            _SHA_256,
        ),
    ]


Problem = Annotated[
    ProblemWord,
    Doc(
        "not_seen: the guest does not see it. errors: the driver reports errors. memory: "
        "memory errors. slow: slower than it should be.",
        "errors",
    ),
]
Observed = Annotated[
    str, Doc("What you saw, 1 to 1000 characters.", "Xid 79: it has fallen off the bus")
]


class GpuReportCreate(TypedDict):
    gpu: NotRequired[
        Annotated[str, Doc("Its id; may be left out for a Linode's only GPU.")]
    ]
    problem: Problem
    text: Observed


class GpuReport(TypedDict):
    """That a GPU is bad. One for each time that a Linode has the card: the first stands."""

    linode_id: Annotated[int, Doc("The Linode's.", 123)]
    gpu: GpuId
    problem: Problem
    text: Observed
    reported: Moment
