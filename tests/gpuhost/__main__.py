"""The command line of the virtual GPU host: `python3 -m tests.gpuhost COMMAND`."""

import sys

from tests.gpuhost.cli import main

sys.exit(main())
