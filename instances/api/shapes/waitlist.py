"""The waitlist: gpucloud's own."""

from typing import Annotated, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc


class WaitlistEntry(TypedDict):
    """A place in line for one type in one region."""

    id: Annotated[int, Doc("Its id.", 5)]
    type: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
    status: Annotated[str, Doc("waiting, offered, used, lapsed or expired.", "waiting")]
    position: Annotated[
        int | None, Doc("In line for this type there, from 1; null: told.", 1)
    ]
    reservation: Annotated[
        int | None, Doc("What was held for you: name it in a create.", 5)
    ]
    held_until: Moment | None
    created: Moment
    expires: Moment


class WaitlistJoin(TypedDict):
    type: Annotated[str, Doc("Of /linode/types.", "g1-gpu-rtx6000-1")]
    region: Annotated[str, Doc("Of /regions.", "us-east")]
