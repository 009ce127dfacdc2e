"""Judge, before a host is enrolled, whether it can sell its cards; pure."""

from inventory.preflight.addresses import problem_of, way_to, weakness_of
from inventory.preflight.report import CheckLine, GuestTrial, HostReport, Verdict
from inventory.preflight.trial import hint_for
from inventory.preflight.verdicts import check, is_fit

__all__ = [
    "CheckLine",
    "GuestTrial",
    "HostReport",
    "Verdict",
    "check",
    "hint_for",
    "is_fit",
    "problem_of",
    "way_to",
    "weakness_of",
]
