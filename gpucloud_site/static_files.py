"""Addresses of the staff site's own style sheet and script, for unfold's settings."""

from django.http import HttpRequest
from django.templatetags.static import static


def stylesheet(_: HttpRequest) -> str:
    return static("gpucloud/staff.css")


def script(_: HttpRequest) -> str:
    return static("gpucloud/staff.js")


def icon(_: HttpRequest) -> str:
    return static("gpucloud/icon.svg")
