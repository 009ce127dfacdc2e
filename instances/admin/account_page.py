"""What an account's page shows beside its fields: what runs, what it uses and may use."""

from typing import Any

from django.db.models import Count, Q, Window
from django.http import HttpRequest

from flags.availability import open_gates
from flags.models import Flag
from instances.choices import ENDED_PHASES
from instances.models import Account, Instance
from instances.price import Month
from instances.quotas import gpu_use
from instances.timeline import account_sources
from instances.usage_report import totals, usage_of
from inventory.admin.timeline_part import timeline_part
from inventory.ledger import clock

INSTANCES_SHOWN = 20


def account_page(request: HttpRequest, account: Account) -> dict[str, Any]:
    """Return the template's context, what the reader may see of it; eleven queries."""
    may = request.user.has_perm
    context = timeline_part(request, account_sources(account, may))
    is_open = Q(name__in=open_gates(account))
    context["gpus"] = [
        use for use in gpu_use(account) if use.used or use.allowed is not None
    ]
    flags = Flag.objects.annotate(is_open=is_open).order_by("name")
    context["flags"] = list(flags.values_list("name", "is_open", "is_killed"))
    if may("instances.view_instance"):
        present = Instance.objects.filter(account=account).exclude(
            phase__in=ENDED_PHASES
        )
        shown = present.select_related("plan", "region").annotate(
            in_all=Window(Count("pk"))
        )
        context["instances"] = list(shown[:INSTANCES_SHOWN])
    if may("instances.view_usageinterval"):
        month = Month.of(clock())
        context["month"] = month
        context["used"] = next(iter(totals(usage_of(month, account))), None)
    return context
