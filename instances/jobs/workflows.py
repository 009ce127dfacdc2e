"""Which steps each kind of job is made of, in order."""

from instances.choices import JobKind
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

WORKFLOWS: dict[JobKind, tuple[Step, ...]] = {
    JobKind.LAUNCH: (
        HoldClaims(),
        DefineDomain(),
        StartDomain(),
        ObserveRunning(),
        VerifyClaims(),
    ),
    JobKind.DELETE: (DestroyDomain(), UndefineDomain(), ReleaseClaims()),
}

# A delete is never given up: what cannot be proven gone stays claimed, and is tried again.
UNDONE_ON_FAILURE = frozenset({JobKind.LAUNCH})
