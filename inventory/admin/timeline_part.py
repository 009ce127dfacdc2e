"""The part of a page that tells what happened to its row, one page of moments at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from inventory.admin.holders import holder_names
from inventory.timeline import Moment, Place, Source, timeline

MOMENTS_SHOWN = 50
PARAMETER = "before"


@dataclass(frozen=True, slots=True)
class Row:
    """url: of the page that tells more; empty if none does. holder: empty without one."""

    moment: Moment
    url: str
    holder: str


def timeline_part(request: HttpRequest, sources: Sequence[Source]) -> dict[str, Any]:
    """Return the context of admin/timeline.html; three queries at most."""
    begin = Place.parse(request.GET.get(PARAMETER, ""))
    told = timeline(sources, MOMENTS_SHOWN, begin)
    names = holder_names({each.consumer for each in told.moments if each.consumer})
    return {
        "timeline": [
            Row(each, _url(each), names[each.consumer] if each.consumer else "")
            for each in told.moments
        ],
        "timeline_begins_later": begin is not None,
        "timeline_rest": urlencode({PARAMETER: str(told.rest)}) if told.rest else "",
    }


def _url(moment: Moment) -> str:
    if moment.page is None:
        return ""
    label, pk = moment.page
    return reverse(f"admin:{label.replace('.', '_')}_change", args=[pk])
