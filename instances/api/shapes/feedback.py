"""What an account says of a Linode: gpucloud's own."""

from typing import Annotated, Literal, NotRequired, TypedDict

from instances.api.shapes.doc import Doc

# instances.choices.Workload.
WorkloadWord = Literal[
    "cloud_gaming",
    "rendering",
    "transcoding",
    "password_testing",
    "machine_learning",
    "other",
]
Workload = Annotated[WorkloadWord, Doc("What it was used for.", "rendering")]
Words = Annotated[
    str, Doc("In your own words, at most 1000 characters.", "Ran at full speed.")
]
Again = Annotated[bool | None, Doc("Would you use it again? null: not said.", True)]


class FeedbackUpdate(TypedDict):
    """What is left out stays as it was."""

    workload: NotRequired[
        Annotated[
            WorkloadWord, Doc("What it was used for; needed at first.", "rendering")
        ]
    ]
    text: NotRequired[Words]
    would_use_again: NotRequired[Again]


class Feedback(TypedDict):
    """What was said of a Linode; all of it may be null while nothing was."""

    linode_id: Annotated[int, Doc("The Linode's.", 123)]
    workload: Annotated[
        WorkloadWord | None, Doc("What it was used for; null: not said.", "rendering")
    ]
    text: Words
    would_use_again: Again
    updated: Annotated[
        str | None, Doc("When it was last written, UTC.", "2026-11-24T12:00:00")
    ]
