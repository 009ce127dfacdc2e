"""An instance's GPUs and what its guest sees of them: gpucloud's own."""

from typing import Annotated, TypedDict

from instances.api.shapes.doc import Doc

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
