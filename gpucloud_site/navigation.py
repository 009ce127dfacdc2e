"""The staff site's side bar: what a person may see, in the order of the work."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from gpucloud_site.monitoring.views import PERMISSION as HEALTH_PERMISSION
from instances.admin.capacity_page import PERMISSIONS as CAPACITY_PERMISSIONS
from instances.admin.fleet_page import PERMISSIONS as FLEET_PERMISSIONS
from instances.admin.reports import PERMISSION as REPORTS_PERMISSION
from instances.admin.usage_page import PERMISSIONS as USAGE_PERMISSIONS

# (title, icon, URL name, permission) by group; all but the first are list pages.
_GROUPS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "Customers": (
        ("Instances", "dns", "instances_instance", "instances.view_instance"),
        (
            "Reservations",
            "lock_clock",
            "instances_reservation",
            "instances.view_reservation",
        ),
        (
            "Waitlist",
            "hourglass_top",
            "instances_waitlistentry",
            "instances.view_waitlistentry",
        ),
        (
            "Placement groups",
            "call_split",
            "instances_placementgroup",
            "instances.view_placementgroup",
        ),
        ("Accounts", "groups", "instances_account", "instances.view_account"),
        ("GPU quotas", "speed", "instances_gpuquota", "instances.view_gpuquota"),
        (
            "Usage intervals",
            "schedule",
            "instances_usageinterval",
            "instances.view_usageinterval",
        ),
        ("Invoices", "receipt_long", "instances_invoice", "instances.view_invoice"),
        (
            "Refused demand",
            "block",
            "instances_refuseddemand",
            "instances.view_refuseddemand",
        ),
        ("Trials", "redeem", "instances_trial", "instances.view_trial"),
        (
            "Feedback",
            "reviews",
            "instances_instancefeedback",
            "instances.view_instancefeedback",
        ),
        ("API tokens", "key", "instances_apitoken", "instances.view_apitoken"),
        ("API changes", "history", "instances_apichange", "instances.view_apichange"),
        ("SSH keys", "vpn_key", "instances_sshkey", "instances.view_sshkey"),
    ),
    "Fleet": (
        ("Hosts", "storage", "inventory_host", "inventory.view_host"),
        ("Cards", "memory", "inventory_card", "inventory.view_card"),
        (
            "Discrepancies",
            "difference",
            "inventory_discrepancy",
            "inventory.view_discrepancy",
        ),
        ("Alerts", "warning", "inventory_alert", "inventory.view_alert"),
        (
            "Card checks",
            "fact_check",
            "inventory_cardcheck",
            "inventory.view_cardcheck",
        ),
        ("Card ledger", "history", "inventory_cardevent", "inventory.view_cardevent"),
        ("Card claims", "lock", "inventory_cardclaim", "inventory.view_cardclaim"),
        ("Node claims", "lock", "inventory_nodeclaim", "inventory.view_nodeclaim"),
        (
            "Address claims",
            "lock",
            "inventory_addressclaim",
            "inventory.view_addressclaim",
        ),
        (
            "Guest storage and network",
            "lan",
            "inventory_guestsetup",
            "inventory.view_guestsetup",
        ),
        (
            "Address pools",
            "public",
            "inventory_addresspool",
            "inventory.view_addresspool",
        ),
    ),
    "Work": (
        ("Jobs", "pending_actions", "instances_job", "instances.view_job"),
        ("Customer events", "campaign", "instances_event", "instances.view_event"),
        ("Webhooks", "webhook", "instances_webhook", "instances.view_webhook"),
        (
            "Webhook deliveries",
            "send",
            "instances_webhookdelivery",
            "instances.view_webhookdelivery",
        ),
    ),
    "Catalogue": (
        ("Plans", "sell", "instances_plan", "instances.view_plan"),
        ("Images", "album", "instances_image", "instances.view_image"),
        (
            "Images on hosts",
            "cloud_done",
            "instances_hostimage",
            "instances.view_hostimage",
        ),
        ("Feature flags", "flag", "flags_flag", "flags.view_flag"),
        (
            "Planned flag changes",
            "event",
            "flags_flagproposal",
            "flags.view_flagproposal",
        ),
        ("Flag changes", "history", "flags_flagchange", "flags.view_flagchange"),
        (
            "Launch decisions",
            "gavel",
            "flags_launchdecision",
            "flags.view_launchdecision",
        ),
        (
            "Readiness thresholds",
            "rule",
            "flags_readinessthreshold",
            "flags.view_readinessthreshold",
        ),
        ("Betas", "science", "flags_beta", "flags.view_beta"),
        (
            "Beta enrolments",
            "how_to_reg",
            "flags_betaenrolment",
            "flags.view_betaenrolment",
        ),
        ("Regions", "public", "inventory_region", "inventory.view_region"),
        ("GPU models", "category", "inventory_gpumodel", "inventory.view_gpumodel"),
        (
            "Check images",
            "cleaning_services",
            "inventory_checkimage",
            "inventory.view_checkimage",
        ),
    ),
    "Staff": (
        ("Users", "person", "auth_user", "auth.view_user"),
        ("Groups", "shield_person", "auth_group", "auth.view_group"),
        (
            "Access log",
            "login",
            "instances_accessevent",
            "instances.view_accessevent",
        ),
    ),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's side bar; its SIDEBAR "navigation" setting names this function."""
    first = [
        _item("Overview", "home", "admin:index"),
        _item(
            "Launch",
            "rocket_launch",
            "admin:launch",
            "instances.add_instance",
        ),
        _item("Fleet map", "grid_view", "admin:fleet", *FLEET_PERMISSIONS),
        _item("Capacity", "donut_small", "admin:capacity", *CAPACITY_PERMISSIONS),
        _item("Health", "monitor_heart", "admin:health", HEALTH_PERMISSION),
        _item("Reports", "query_stats", "admin:reports", REPORTS_PERMISSION),
        _item("Usage", "payments", "admin:usage", *USAGE_PERMISSIONS),
    ]
    groups: list[dict[str, Any]] = [{"title": None, "separator": False, "items": first}]
    for title, entries in _GROUPS.items():
        items = [
            _item(name, icon, f"admin:{model}_changelist", permission)
            for name, icon, model, permission in entries
            if request.user.has_perm(permission)
        ]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def _item(title: str, icon: str, url_name: str, *permissions: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse(url_name),
        "permission": _has(permissions) if permissions else None,
    }


def _has(permissions: tuple[str, ...]) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perms(permissions)
