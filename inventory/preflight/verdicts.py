"""Put all checks of a host in their order, and say what none of them could ask; pure.

What libvirt cannot say is not guessed: it becomes a warning that names what proves it.
"""

from collections.abc import Callable, Iterable, Iterator

from inventory.preflight import hardware, surroundings, system, trial
from inventory.preflight.addresses import way_to
from inventory.preflight.report import CheckLine, HostReport, Verdict
from inventory.words import say

Judge = Callable[[HostReport], Iterator[CheckLine]]
# (question that it rests on, line if that was refused, its verdict, the check). Of the
# checks on one question only the first tells of the refusal.
_CHECKS: tuple[tuple[str, str, Verdict, Judge], ...] = (
    ("", "", Verdict.FAIL, system.connection),
    ("facts", "what the host is made of", Verdict.FAIL, system.kvm),
    ("versions", "versions", Verdict.WARN, system.versions),
    ("facts", "", Verdict.FAIL, system.iommu),
    ("facts", "", Verdict.FAIL, hardware.cards),
    ("facts", "", Verdict.FAIL, hardware.endpoints),
    ("pci_backends", "vfio", Verdict.WARN, system.vfio),
    ("facts", "", Verdict.FAIL, hardware.numa),
    ("free_pages", "hugepages", Verdict.WARN, hardware.hugepages),
    ("", "", Verdict.FAIL, trial.guest),
    ("pools", "storage", Verdict.WARN, surroundings.pools),
    ("networks", "network", Verdict.WARN, surroundings.networks),
    ("clock", "clock", Verdict.WARN, surroundings.clock),
    ("facts", "", Verdict.FAIL, hardware.room),
)


def check(report: HostReport) -> list[CheckLine]:
    """Return all lines in the order in which a person puts things right."""
    if report.unreachable:
        return [
            CheckLine(
                "connection", Verdict.FAIL, report.unreachable, way_to(report.uri)
            )
        ]
    lines: list[CheckLine] = []
    for question, name, verdict, judge in _CHECKS:
        if question not in report.refusals:
            lines += judge(report)
        elif name:
            lines.append(
                CheckLine(
                    name,
                    verdict,
                    say("not answered: %(question)s")
                    % {"question": report.refusals[question]},
                )
            )
    return lines


def is_fit(lines: Iterable[CheckLine]) -> bool:
    """Say whether nothing failed."""
    return all(line.verdict is not Verdict.FAIL for line in lines)
