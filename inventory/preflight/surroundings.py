"""Judge what guests need around them: storage, networks and the clock; pure."""

from collections.abc import Iterator

from inventory.preflight.report import CheckLine, HostReport, Verdict
from inventory.words import say

MOST_SKEW_S = 5.0
LEAST_POOL_BYTES = 1 << 30


def pools(report: HostReport) -> Iterator[CheckLine]:
    if report.console_pool not in report.pools:
        text = say("%(console_pool)s is not there; the first guest makes it") % {
            "console_pool": report.console_pool
        }
        yield CheckLine("storage", Verdict.PASS, text)
    for name, free in sorted(report.pools.items()):
        if free is None:
            start = f"virsh pool-start {name}; virsh pool-autostart {name}"
            yield CheckLine(
                "storage",
                Verdict.WARN,
                say("%(name)s is inactive") % {"name": name},
                start,
            )
        elif free < LEAST_POOL_BYTES:
            text = say("%(name)s: only %(free)s MiB free") % {
                "name": name,
                "free": free >> 20,
            }
            yield CheckLine(
                "storage", Verdict.WARN, text, say("Make room on that disk.")
            )
        else:
            text = say("%(name)s: active, %(free)s GiB free") % {
                "name": name,
                "free": free >> 30,
            }
            yield CheckLine("storage", Verdict.PASS, text)


def networks(report: HostReport) -> Iterator[CheckLine]:
    if not report.networks:
        text = say("no virtual network, and guests need none")
        yield CheckLine("network", Verdict.PASS, text)
    for name, is_active in sorted(report.networks.items()):
        if is_active:
            yield CheckLine(
                "network", Verdict.PASS, say("%(name)s: active") % {"name": name}
            )
        else:
            start = f"virsh net-start {name}; virsh net-autostart {name}"
            yield CheckLine(
                "network",
                Verdict.WARN,
                say("%(name)s is inactive") % {"name": name},
                start,
            )


def clock(report: HostReport) -> Iterator[CheckLine]:
    skew = report.clock_skew_s
    if skew is None:
        yield CheckLine(
            "clock",
            Verdict.WARN,
            say("cannot be read without an active pool %(console_pool)s")
            % {"console_pool": report.console_pool},
            say(
                "Check again with --start-guest, which makes it, or after the first guest."
            ),
        )
    elif abs(skew) > MOST_SKEW_S:
        text = _apart(skew) % {"skew": f"{abs(skew):.1f}"}
        yield CheckLine(
            "clock", Verdict.WARN, text, say("Run chrony on both machines.")
        )
    else:
        yield CheckLine(
            "clock",
            Verdict.PASS,
            say("%(skew)s s apart") % {"skew": f"{abs(skew):.1f}"},
        )


def _apart(skew_s: float) -> str:
    if skew_s > 0:
        return say("the host is %(skew)s s ahead")
    return say("the host is %(skew)s s behind")
