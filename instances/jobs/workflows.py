"""Which steps each kind of job is made of, in order."""

from typing import Any

from instances.choices import CARD_JOBS, LAUNCHES, UNNOTICED, VERBS, JobKind
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
from instances.jobs.filter_steps import ApplyFilter
from instances.jobs.power_steps import (
    ClaimsHeld,
    DeleteOldDisk,
    EnsureNextImage,
    RecallSeed,
    RecreateDisk,
    RedefineDomain,
    RewriteSeed,
    ShutDown,
    StopGuest,
    TakeNextImage,
    WriteNewSeed,
)
from instances.jobs.resize_steps import (
    DefineNext,
    GrowDisk,
    NextClaimsHeld,
    ShutDownToResize,
    StartNext,
    TakeNextClaims,
    VerifyNext,
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

_START = (StartDomain(), ObserveRunning(), VerifyClaims())
_CREATE = (HoldClaims(), EnsureImage(), CreateDisk(), WriteSeed(), DefineDomain())
_REBUILD = (
    ClaimsHeld(),
    EnsureNextImage(),
    StopGuest(),
    DeleteOldDisk(),
    TakeNextImage(),
    RecreateDisk(),
    WriteNewSeed(),
    RedefineDomain(),
)
WORKFLOWS: dict[JobKind, tuple[Step[Any], ...]] = {
    JobKind.SANITISE: (ClearCard(), SanitiseCard(), TestCard(), AdmitCard()),
    JobKind.TEST: (ClearCard(), TestCard(), AdmitCard()),
    JobKind.CLEAR: (RemoveCheckGuest(),),
    JobKind.LAUNCH: (*_CREATE, *_START),
    JobKind.LAUNCH_OFF: (*_CREATE, VerifyClaims()),
    JobKind.BOOT: (ClaimsHeld(), RedefineDomain(), *_START),
    JobKind.SHUTDOWN: (ShutDown(),),
    JobKind.REBOOT: (ClaimsHeld(), ShutDown(), RedefineDomain(), *_START),
    JobKind.REBUILD: (*_REBUILD, *_START),
    JobKind.REBUILD_OFF: (*_REBUILD, VerifyClaims()),
    JobKind.RESIZE: (
        NextClaimsHeld(),
        ShutDownToResize(),
        DefineNext(),
        GrowDisk(),
        StartNext(),
        ObserveRunning(),
        VerifyNext(),
        TakeNextClaims(),
    ),
    JobKind.RESIZE_OFF: (
        NextClaimsHeld(),
        DefineNext(),
        GrowDisk(),
        VerifyNext(),
        TakeNextClaims(),
    ),
    JobKind.PASSWORD: (ClaimsHeld(), RecallSeed(), RewriteSeed()),
    JobKind.APPLY_FILTER: (ApplyFilter(),),
    JobKind.DELETE: (
        DestroyDomain(),
        UndefineDomain(),
        DeleteDisk(),
        ReleaseClaims(),
    ),
}

# A delete is never given up: what cannot be proven gone stays claimed, and is tried again.
UNDONE_ON_FAILURE = frozenset({*LAUNCHES, *VERBS, *UNNOTICED, *CARD_JOBS})
# What a silent host interrupts goes on when it answers again, before its deadline. Not a
# launch: another host may serve that customer. Nor what nobody notices: other work would
# wait behind it, and it is begun anew.
WAITS_FOR_HOST = frozenset({JobKind.DELETE, *VERBS, *CARD_JOBS})
