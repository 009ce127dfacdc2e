"""Webhooks and the log of what they were sent: gpucloud's own."""

from typing import Annotated, Literal, NotRequired, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc

Url = Annotated[
    str,
    Doc("https, at most 500 characters.", "https://ops.example.net/hook"),
]
Actions = Annotated[
    list[str],
    Doc("Of the events that are sent; empty: all.", ["linode_create"]),
]


class Webhook(TypedDict):
    id: Annotated[int, Doc("Its id.", 5)]
    url: Url
    actions: Actions
    status: Literal["enabled", "disabled"]
    failures: Annotated[int, Doc("In a row; at 20 it is disabled.", 0)]
    created: Moment
    updated: Moment


class WebhookMade(Webhook):
    secret: Annotated[
        str,
        Doc("What deliveries are signed with; shown this once.", "whsec_MfKQ9r8G..."),
    ]


class WebhookCreate(TypedDict):
    url: Url
    actions: NotRequired[Actions]


class WebhookUpdate(TypedDict, total=False):
    url: Url
    actions: Actions
    status: Literal["enabled", "disabled"]


class WebhookDelivery(TypedDict):
    """One event on its way; kept for a while after it has ended."""

    id: Annotated[
        str,
        Doc(
            "Sent as webhook-id with every attempt.",
            "7f3a0c1e-0d3f-4c57-9d5b-0f2b4f1f6b11",
        ),
    ]
    event_id: Annotated[int, Doc("Of /account/events.", 17)]
    action: Annotated[str, Doc("Of the event.", "linode_boot")]
    event_status: Annotated[str, Doc("Of the event at that moment.", "finished")]
    status: Annotated[str, Doc("pending, delivered or failed.", "delivered")]
    attempts: Annotated[int, Doc("Begun so far.", 1)]
    http_status: Annotated[int | None, Doc("Of the latest answer.", 200)]
    error: Annotated[str | None, Doc("Why the latest attempt failed.")]
    created: Moment
    next_attempt: Moment | None
    ended: Moment | None
