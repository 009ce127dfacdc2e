"""python -m tests.simulated_hosts: fill a lab's fleet with simulated hosts, cards ready."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gpucloud_site.settings")
django.setup()

# It loads models.
from tests.simulated_hosts.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
