"""Which steps each kind of job is made of, in order."""

from typing import Any

from instances.choices import CARD_JOBS, JobKind
from instances.jobs.card_steps import (
    AdmitCard,
    ClearCard,
    RemoveCheckGuest,
    SanitiseCard,
    TestCard,
)
from instances.jobs.disk_steps import (
    CreateDisk,
    DeleteDisk,
    EnsureImage,
    WriteSeed,
)
from instances.jobs.steps import (
    DefineDomain,
    DestroyDomain,
    HoldClaims,
    ObserveRunning,
    ReleaseClaims,
    StartDomain,
    Step,
    UndefineDomain,
    VerifyClaims,
)

WORKFLOWS: dict[JobKind, tuple[Step[Any], ...]] = {
    JobKind.SANITISE: (ClearCard(), SanitiseCard(), TestCard(), AdmitCard()),
    JobKind.TEST: (ClearCard(), TestCard(), AdmitCard()),
    JobKind.CLEAR: (RemoveCheckGuest(),),
    JobKind.LAUNCH: (
        HoldClaims(),
        EnsureImage(),
        CreateDisk(),
        WriteSeed(),
        DefineDomain(),
        StartDomain(),
        ObserveRunning(),
        VerifyClaims(),
    ),
    JobKind.DELETE: (
        DestroyDomain(),
        UndefineDomain(),
        DeleteDisk(),
        ReleaseClaims(),
    ),
}

# A delete is never given up: what cannot be proven gone stays claimed, and is tried again.
UNDONE_ON_FAILURE = frozenset({JobKind.LAUNCH, *CARD_JOBS})
# What a silent host interrupts goes on when it answers again; a customer waits for no host.
WAITS_FOR_HOST = frozenset({JobKind.DELETE, *CARD_JOBS})
