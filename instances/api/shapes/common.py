"""Shapes that many endpoints share."""

from typing import Annotated, TypedDict

from instances.api.shapes.doc import Doc

Moment = Annotated[
    str, Doc("UTC, YYYY-MM-DDTHH:MM:SS without a zone.", "2026-11-24T12:00:00")
]
Tags = Annotated[list[str], Doc("At most 100, of 3 to 50 characters.", ["prod"])]


class Empty(TypedDict):
    """Nothing to say: it is done, or begun."""


class Error(TypedDict, total=False):
    reason: Annotated[str, Doc("What is wrong and what would be right.")]
    field: Annotated[str, Doc("The field at fault; absent if none is.", "region")]


class Errors(TypedDict):
    """What every refusal says, at every status."""

    errors: list[Error]


class Entity(TypedDict):
    """What an event, a maintenance or a notification is about."""

    id: Annotated[int, Doc("Its id; kept after it is gone.", 123)]
    label: Annotated[str, Doc("Its label at that time.", "trainer")]
    type: Annotated[
        str,
        Doc(
            "linode, firewall, placement_group, webhook, waitlist, trial, type, region.",
            "linode",
        ),
    ]
    url: Annotated[str, Doc("Its path.", "/v4/linode/instances/123")]
