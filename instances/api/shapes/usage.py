"""What an account used: gpucloud's own."""

from typing import Annotated, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc

Ending = Annotated[
    str | None, Doc("UTC; null while it goes on.", "2026-11-24T12:00:00")
]


class Usage(TypedDict):
    """A Linode's use of one type in one month, so far if the month is not over."""

    month: Annotated[str, Doc("UTC.", "2026-11")]
    linode_id: Annotated[int, Doc("Kept after the Linode is gone.", 123)]
    label: Annotated[str, Doc("The Linode's.", "trainer")]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    type: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    gpus: Annotated[int, Doc("Whole GPUs of the type.", 1)]
    begin: Moment
    end: Ending
    hours: Annotated[int, Doc("Its hours, added up, then rounded up.", 30)]
    gpu_hours: Annotated[int, Doc("Hours times GPUs.", 30)]
    is_billed: Annotated[bool, Doc("No for an employee's account.", True)]
    amount: Annotated[
        float, Doc("$ to pay: hours by the price, at most the month's.", 45.0)
    ]
