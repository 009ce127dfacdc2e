"""python -m deploy.drill: install by the guide, live, upgrade under load, lose a machine.

What docs/install.md says is done in an empty folder of this machine: the units' own
commands, the roles' own SQL and the proxy's own file with other addresses. Hosts are
simulated. It ends with a table, and with status 1 if anything failed.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from deploy.drill.drill import Plan, commit_of, drill
from deploy.drill.site import Site
from deploy.local.problems import LocalStackError, tail
from deploy.local.progress import Progress, describe


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.drill", description=__doc__)
    parser.add_argument("--from", dest="old", default="HEAD~1", metavar="REF")
    parser.add_argument("--to", dest="new", default="HEAD", metavar="REF")
    parser.add_argument("--load-s", type=float, default=20.0, help="before and after")
    parser.add_argument("--pgbouncer", action="store_true", help="in between")
    parser.add_argument(
        "--virtual-host", action="store_true", help="a life on a virtual GPU host too"
    )
    parser.add_argument("--keep", action="store_true", help="leave the folder there")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gpucloud-drill-"))
    progress = Progress()
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        drill(
            Site(folder),
            Plan(
                old=commit_of(options.old),
                new=commit_of(options.new),
                load_s=options.load_s,
                has_pooler=options.pgbouncer,
                has_virtual_host=options.virtual_host,
            ),
            progress,
        )
    except LocalStackError as error:
        print(describe(error, progress.current, tail(error.log)), file=sys.stderr)
        print(f"all logs: {folder}", file=sys.stderr)
        return 1
    if not options.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
