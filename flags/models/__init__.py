"""Feature flags, their betas, what was changed of them and what was decided on them."""

from flags.models.beta import GREENLIGHT_TAG, Beta, BetaEnrolment
from flags.models.change import ChangeKind, FlagChange, FlagProposal, ProposalState
from flags.models.flag import Bucket, Flag
from flags.models.readiness import (
    AT_LEAST,
    LaunchDecision,
    LineStatus,
    ReadinessLine,
    ReadinessThreshold,
    Verdict,
)

__all__ = [
    "AT_LEAST",
    "GREENLIGHT_TAG",
    "Beta",
    "BetaEnrolment",
    "Bucket",
    "ChangeKind",
    "Flag",
    "FlagChange",
    "FlagProposal",
    "LaunchDecision",
    "LineStatus",
    "ProposalState",
    "ReadinessLine",
    "ReadinessThreshold",
    "Verdict",
]
