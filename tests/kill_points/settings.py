"""The site's settings with an app that kills workers."""

from gpucloud_site.settings import *  # noqa: F403
from gpucloud_site.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.kill_points.apps.KillPoints"]
