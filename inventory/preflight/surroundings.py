"""Judge what guests need around them: storage, networks and the clock; pure."""

from collections.abc import Iterator

from inventory.preflight.report import CheckLine, HostReport, Verdict

MOST_SKEW_S = 5.0
LEAST_POOL_BYTES = 1 << 30


def pools(report: HostReport) -> Iterator[CheckLine]:
    if report.console_pool not in report.pools:
        text = f"{report.console_pool} is not there; the first guest makes it"
        yield CheckLine("storage", Verdict.PASS, text)
    for name, free in sorted(report.pools.items()):
        if free is None:
            start = f"virsh pool-start {name}; virsh pool-autostart {name}"
            yield CheckLine("storage", Verdict.WARN, f"{name} is inactive", start)
        elif free < LEAST_POOL_BYTES:
            text = f"{name}: only {free >> 20} MiB free"
            yield CheckLine("storage", Verdict.WARN, text, "Make room on that disk.")
        else:
            text = f"{name}: active, {free >> 30} GiB free"
            yield CheckLine("storage", Verdict.PASS, text)


def networks(report: HostReport) -> Iterator[CheckLine]:
    if not report.networks:
        text = "no virtual network, and guests need none"
        yield CheckLine("network", Verdict.PASS, text)
    for name, is_active in sorted(report.networks.items()):
        if is_active:
            yield CheckLine("network", Verdict.PASS, f"{name}: active")
        else:
            start = f"virsh net-start {name}; virsh net-autostart {name}"
            yield CheckLine("network", Verdict.WARN, f"{name} is inactive", start)


def clock(report: HostReport) -> Iterator[CheckLine]:
    skew = report.clock_skew_s
    if skew is None:
        yield CheckLine(
            "clock",
            Verdict.WARN,
            f"cannot be read without an active pool {report.console_pool}",
            "Check again with --start-guest, which makes it, or after the first guest.",
        )
    elif abs(skew) > MOST_SKEW_S:
        text = f"the host is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
        yield CheckLine("clock", Verdict.WARN, text, "Run chrony on both machines.")
    else:
        yield CheckLine("clock", Verdict.PASS, f"{abs(skew):.1f} s apart")
