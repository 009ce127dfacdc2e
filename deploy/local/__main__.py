"""The command line of the local stack: `python3 -m deploy.local VERB`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is what says so to an older one
    sys.exit("gpucloud needs Python 3.11 or later; this is " + sys.version.split()[0])

from deploy.local.cli import main

sys.exit(main(sys.argv[1:]))
