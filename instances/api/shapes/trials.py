"""Trials of an account: gpucloud's own."""

from typing import Annotated, Literal, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc

# instances.choices.AfterTrial and TrialEnd.
AtEnd = Literal["delete", "bill"]
EndWord = Literal["over", "used_up", "cut"]


class Trial(TypedDict):
    """A time for which some types cost nothing, within limits."""

    id: Annotated[int, Doc("Lasting.", 7)]
    status: Annotated[Literal["running", "ended"], Doc("By now.", "running")]
    types: Annotated[list[str], Doc("Those that it is of.", ["g1-gpu-rtx6000-1"])]
    gpus: Annotated[int, Doc("At once, at most.", 2)]
    gpus_used: Annotated[int, Doc("Of its Linodes that are there.", 1)]
    gpu_hours: Annotated[int, Doc("In all, at most.", 168)]
    gpu_hours_used: Annotated[float, Doc("Up to now, or its end.", 12.5)]
    start: Moment
    end: Annotated[
        Moment, Doc("It ends then at the latest; while it runs, the hours may end it.")
    ]
    ended: Annotated[
        str | None, Doc("When it was over, UTC; null: it runs.", "2026-11-24T12:00:00")
    ]
    end_reason: Annotated[
        EndWord | None,
        Doc("over: its time. used_up: its hours. cut: by the operator.", "over"),
    ]
    at_end: Annotated[
        AtEnd,
        Doc("delete: its Linodes are shut down, then deleted. bill: billed.", "delete"),
    ]
    deletion: Annotated[
        str | None,
        Doc("When its Linodes are deleted, UTC; null: not yet known, or never."),
    ]
    linodes: Annotated[list[int], Doc("Ids of its Linodes that are there.", [123])]
