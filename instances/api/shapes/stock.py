"""What can be had, where, and for how much: gpucloud's own."""

from typing import Annotated, NotRequired, TypedDict

from instances.api.shapes.catalogue import Price
from instances.api.shapes.common import Error
from instances.api.shapes.doc import Doc

Type = Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
RegionId = Annotated[str, Doc("Of /regions.", "us-east")]


class GpuModel(TypedDict):
    """A model of GPU that some type has."""

    id: Annotated[str, Doc("Its short name.", "rtx6000")]
    label: Annotated[str, Doc("For people.", "RTX 6000")]
    memory_mib: Annotated[int, Doc("Memory on the card, MiB.", 24576)]
    pci_ids: Annotated[
        list[str], Doc("vendor:device of its main function.", ["10de:1e30"])
    ]
    types: Annotated[list[str], Doc("That have it.", ["g1-gpu-rtx6000-1"])]


class InventoryLine(TypedDict):
    """What of one GPU type can be had in one region now."""

    region: RegionId
    type: Type
    gpu_model: Annotated[str, Doc("Of /gpucloud/gpu-models.", "rtx6000")]
    gpus: Annotated[int, Doc("Whole GPUs of the type.", 1)]
    available: Annotated[bool, Doc("One fits there now.", True)]
    how_many: Annotated[
        int | None,
        Doc(
            "How many fit, if nothing else is had; null: the operator does not say.", 3
        ),
    ]


class QuoteCreate(TypedDict):
    type: Type
    region: RegionId
    count: NotRequired[Annotated[int, Doc("How many; 1 to 100, or 1 if left out.", 1)]]


class Quote(TypedDict):
    """What a create, or so many of them, would meet now; nothing is kept by asking."""

    type: Type
    region: RegionId
    count: Annotated[int, Doc("How many Linodes.", 1)]
    gpus: Annotated[int, Doc("Whole GPUs of them all.", 1)]
    fits: Annotated[bool, Doc("All of them would be made now.", True)]
    refusals: Annotated[
        list[Error], Doc("What a create would answer; empty if it fits.")
    ]
    price: Annotated[Price, Doc("Of one.")]
    total: Annotated[Price, Doc("Of all.")]
