"""/health/live, /health/ready and /metrics for machines, and the same health for people."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gpucloud_site.monitoring.access import may_monitor
from gpucloud_site.monitoring.exposition import exposition
from gpucloud_site.monitoring.health import PARTS, health

PERMISSION = "instances.view_job"
_UNAVAILABLE = 503


@require_safe
@never_cache
def live(request: HttpRequest) -> HttpResponse:
    """Say that this process answers; asks nobody else."""
    return JsonResponse({"live": True})


@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """Say whether requests can be served, and to who may monitor, why not.

    ?part=database&part=migrations asks for these alone: what a load balancer asks, for
    without workers a web machine still answers every read.
    """
    names = request.GET.getlist("part")
    if unknown := sorted(set(names) - PARTS.keys()):
        known = ", ".join(PARTS)
        reason = f"there is no {unknown[0][:30]!r}; the parts are {known}"
        return JsonResponse(
            {"errors": [{"field": "part", "reason": reason}]}, status=400
        )
    parts = health(names)
    is_ready = all(part.is_well for part in parts)
    answer: dict[str, object] = {"ready": is_ready}
    if may_monitor(request):
        answer["parts"] = {
            part.name: {"ok": part.is_well, "text": part.text, "remedy": part.remedy}
            for part in parts
        }
    return JsonResponse(answer, status=200 if is_ready else _UNAVAILABLE)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Give the figures in Prometheus's text format to who may monitor."""
    if not may_monitor(request):
        return HttpResponse(
            "Metrics are not public: send GPUCLOUD_METRICS_TOKEN as bearer token, or ask "
            "from one of GPUCLOUD_METRICS_NETWORKS and through no proxy.\n",
            content_type="text/plain",
            status=403,
        )
    try:
        text = exposition()
    except DatabaseError as error:
        reason = f"The database cannot be read in time: {type(error).__name__}.\n"
        return HttpResponse(reason, content_type="text/plain", status=_UNAVAILABLE)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def health_page(request: HttpRequest) -> HttpResponse:
    """Show people what /health/ready tells machines."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    parts = health()
    context = {
        **admin.site.each_context(request),
        "title": _("Health"),
        "parts": parts,
        "is_ready": all(part.is_well for part in parts),
    }
    return TemplateResponse(request, "admin/health.html", context)
