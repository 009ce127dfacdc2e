"""The commands of `python3 -m tests.gpuhost`, each a few lines over the Python API."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.gpuhost.errors import CommandFailed, GpuHostError, NoSuchTarget
from tests.gpuhost.faults import FAULTS, fault_arguments
from tests.gpuhost.host import HostFacts, VirtualGpuHost
from tests.gpuhost.image import ensure_image
from tests.gpuhost.machine import BOARDS, CARDS, DEFAULT_BOARD, DEFAULT_CARD
from tests.gpuhost.paths import default_run_dir


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.action(options)
    except CommandFailed as error:
        sys.stderr.write(error.output + "\n")
        return error.status
    except GpuHostError as error:
        sys.stderr.write(f"gpuhost: {error}\n")
        return 1


def _build(options: argparse.Namespace) -> int:
    _say(str(ensure_image().folder))
    return 0


def _start(options: argparse.Namespace) -> int:
    host = VirtualGpuHost(
        options.name,
        options.board,
        options.card,
        run_dir=options.run_dir,
        libvirt_port=options.libvirt_port,
        debug_port=options.debug_port,
    )
    _say_facts(host.start(), options.json)
    return 0


def _restore(options: argparse.Namespace) -> int:
    _say_facts(_named(options).restore(), options.json)
    return 0


def _stop(options: argparse.Namespace) -> int:
    if not _named(options).stop():
        sys.stderr.write(f"gpuhost: {options.name} did not run\n")
    return 0


def _status(options: argparse.Namespace) -> int:
    folder = default_run_dir("any").parent
    names = (
        [options.name] if options.name else sorted(p.name for p in folder.glob("*/"))
    )
    found = [VirtualGpuHost.named(name, options.run_dir).facts() for name in names]
    running = [facts for facts in found if facts]
    if options.json:
        _say(json.dumps([_short(facts) for facts in running]))
    else:
        for facts in running:
            _say_facts(facts, as_json=False)
    return 0 if running or not options.name else 3


def _fault(options: argparse.Namespace) -> int:
    fault = FAULTS[options.kind]
    try:
        answer = fault(_named(options), *options.arguments)
    except TypeError as error:
        wanted = fault_arguments(options.kind)
        raise NoSuchTarget(f"arguments: {options.kind} {wanted}") from error
    if answer is not None:
        _say(str(answer))
    return 0


def _sh(options: argparse.Namespace) -> int:
    _say(_named(options).shell(options.command, options.timeout))
    return 0


def _named(options: argparse.Namespace) -> VirtualGpuHost:
    return VirtualGpuHost.named(options.name, options.run_dir)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _short(facts: HostFacts) -> dict[str, str | int]:
    return {
        "name": facts.name,
        "libvirt_uri": facts.libvirt_uri,
        "pid": facts.pid,
        "board": facts.board,
        "card": facts.card,
        "debug_port": facts.debug_port,
        "tiny_disk": facts.tiny_disk,
    }


def _say_facts(facts: HostFacts, as_json: bool) -> None:
    short = _short(facts)
    _say(json.dumps(short) if as_json else " ".join(f"{k}={short[k]}" for k in short))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.gpuhost",
        description="A GPU server played by QEMU, with libvirtd inside.",
        epilog="What is built is kept in $GPUHOST_DIR (default .local/gpuhost).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="build the image unless it is there")
    build.set_defaults(action=_build)

    start = _add(commands, "start", _start, "start a host unless it runs")
    start.add_argument("--board", choices=sorted(BOARDS), default=DEFAULT_BOARD,
                       help="NUMA nodes x cards per node (%(default)s)")  # fmt: skip
    start.add_argument("--card", choices=sorted(CARDS), default=DEFAULT_CARD,
                       help="model of all cards (%(default)s)")  # fmt: skip
    start.add_argument("--libvirt-port", type=int, help="default: a free one")
    start.add_argument("--debug-port", type=int, help="default: a free one")
    restore = _add(
        commands, "restore", _restore, "throw a host away, start it clean, same URI"
    )
    for command in (start, restore):
        command.add_argument("--json", action="store_true", help="one JSON object")

    _add(commands, "stop", _stop, "end a host")

    status = commands.add_parser("status", help="list the hosts that run")
    status.set_defaults(action=_status)
    status.add_argument("name", metavar="NAME", nargs="?", help="only this one")
    status.add_argument("--run-dir", type=Path, help="of NAME")
    status.add_argument("--json", action="store_true", help="a JSON list")

    fault = _add(commands, "fault", _fault, "break something in a running host")
    fault.formatter_class = argparse.RawDescriptionHelpFormatter
    fault.epilog = "kinds:\n" + "\n".join(map(_fault_help, FAULTS))
    fault.add_argument("kind", metavar="KIND", choices=list(FAULTS), help="see below")
    fault.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="of the kind")

    sh = _add(commands, "sh", _sh, "run a command as root inside a host")
    sh.add_argument("command", metavar="CMD", help="one word: quote it")
    sh.add_argument("--timeout", type=float, default=60, help="seconds (%(default)s)")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    action: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(action=action)
    command.add_argument("name", metavar="NAME", help="the host's name")
    command.add_argument(
        "--run-dir", type=Path, help="default: run/NAME in the cache folder"
    )
    return command


def _fault_help(kind: str) -> str:
    summary = (FAULTS[kind].__doc__ or "").splitlines()[0]
    return f"  {kind} {fault_arguments(kind)}\n      {summary}"
