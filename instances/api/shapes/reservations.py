"""Reservations, quotas and what fits where: gpucloud's own, and one list of Linode's."""

from typing import Annotated, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc


class Reservation(TypedDict):
    """Capacity that is kept for a later create."""

    id: Annotated[int, Doc("Named by a create as reservation.", 5)]
    type: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    gpus: Annotated[int, Doc("Whole GPUs that it keeps.", 1)]
    status: Annotated[str, Doc("active, used or expired.", "active")]
    created: Moment
    expires: Moment
    linode_id: Annotated[int | None, Doc("The Linode that used it.", 123)]


class ReservationCreate(TypedDict):
    type: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    expires: Moment


class Quota(TypedDict):
    gpu_model: Annotated[str, Doc("The model's id.", "rtx6000")]
    label: Annotated[str, Doc("For people.", "RTX 6000")]
    allowed: Annotated[int | None, Doc("GPUs at most; null: no limit.", 8)]
    used: Annotated[int, Doc("GPUs in use or reserved.", 2)]


class RegionAvailability(TypedDict):
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    plan: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    available: Annotated[bool, Doc("One fits there now.", True)]
