"""Feature flags, their betas, and every change that was made to a flag."""

from flags.models.beta import GREENLIGHT_TAG, Beta, BetaEnrolment
from flags.models.change import ChangeKind, FlagChange, FlagProposal, ProposalState
from flags.models.flag import Bucket, Flag

__all__ = [
    "GREENLIGHT_TAG",
    "Beta",
    "BetaEnrolment",
    "Bucket",
    "ChangeKind",
    "Flag",
    "FlagChange",
    "FlagProposal",
    "ProposalState",
]
