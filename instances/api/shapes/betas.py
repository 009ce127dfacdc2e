"""Betas, and what an account enrolled in: API.md's tables, field by field."""

from typing import Annotated, NotRequired, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc


class Beta(TypedDict):
    """What has no end, description or page leaves that field out, as at Linode."""

    id: Annotated[str, Doc("Named when enrolling.", "eight-gpus")]
    label: Annotated[str, Doc("For people.", "Linodes with 8 GPUs")]
    description: NotRequired[Annotated[str, Doc("What it is.")]]
    started: Moment
    ended: NotRequired[Moment]
    greenlight_only: Annotated[bool, Doc("By invitation, which you have.", False)]
    more_info: NotRequired[
        Annotated[str, Doc("A page that says more.", "https://example.net/beta")]
    ]


class AccountBeta(TypedDict):
    """What you enrolled in; while it goes on, you can have what it is about."""

    id: Annotated[str, Doc("The beta's id.", "eight-gpus")]
    label: Annotated[str, Doc("For people.", "Linodes with 8 GPUs")]
    description: Annotated[str | None, Doc("What it is.")]
    started: Moment
    ended: Moment | None
    enrolled: Moment


class BetaEnrol(TypedDict):
    id: Annotated[str, Doc("Of /betas, of one that goes on.", "eight-gpus")]
