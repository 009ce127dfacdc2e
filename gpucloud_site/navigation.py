"""The staff site's side bar: what a person may see, in the order of the work."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from gpucloud_site.monitoring.views import PERMISSION as HEALTH_PERMISSION
from instances.admin.capacity_page import PERMISSIONS as CAPACITY_PERMISSIONS
from instances.admin.fleet_page import PERMISSIONS as FLEET_PERMISSIONS
from instances.admin.reports import PERMISSION as REPORTS_PERMISSION
from instances.admin.usage_page import PERMISSIONS as USAGE_PERMISSIONS

# (title, icon, URL name, permission) by group; all but the first are list pages.
_GROUPS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    gettext_noop("Customers"): (
        (
            gettext_noop("Instances"),
            "dns",
            "instances_instance",
            "instances.view_instance",
        ),
        (
            gettext_noop("Reservations"),
            "lock_clock",
            "instances_reservation",
            "instances.view_reservation",
        ),
        (
            gettext_noop("Waitlist"),
            "hourglass_top",
            "instances_waitlistentry",
            "instances.view_waitlistentry",
        ),
        (
            gettext_noop("Placement groups"),
            "call_split",
            "instances_placementgroup",
            "instances.view_placementgroup",
        ),
        (
            gettext_noop("Accounts"),
            "groups",
            "instances_account",
            "instances.view_account",
        ),
        (
            gettext_noop("GPU quotas"),
            "speed",
            "instances_gpuquota",
            "instances.view_gpuquota",
        ),
        (
            gettext_noop("Usage intervals"),
            "schedule",
            "instances_usageinterval",
            "instances.view_usageinterval",
        ),
        (
            gettext_noop("Invoices"),
            "receipt_long",
            "instances_invoice",
            "instances.view_invoice",
        ),
        (
            gettext_noop("Refused demand"),
            "block",
            "instances_refuseddemand",
            "instances.view_refuseddemand",
        ),
        (gettext_noop("Trials"), "redeem", "instances_trial", "instances.view_trial"),
        (
            gettext_noop("Feedback"),
            "reviews",
            "instances_instancefeedback",
            "instances.view_instancefeedback",
        ),
        (
            gettext_noop("API tokens"),
            "key",
            "instances_apitoken",
            "instances.view_apitoken",
        ),
        (
            gettext_noop("API changes"),
            "history",
            "instances_apichange",
            "instances.view_apichange",
        ),
        (
            gettext_noop("SSH keys"),
            "vpn_key",
            "instances_sshkey",
            "instances.view_sshkey",
        ),
    ),
    gettext_noop("Fleet"): (
        (gettext_noop("Hosts"), "storage", "inventory_host", "inventory.view_host"),
        (gettext_noop("Cards"), "memory", "inventory_card", "inventory.view_card"),
        (
            gettext_noop("Discrepancies"),
            "difference",
            "inventory_discrepancy",
            "inventory.view_discrepancy",
        ),
        (
            gettext_noop("Outages of hosts"),
            "cloud_off",
            "inventory_hostoutage",
            "inventory.view_hostoutage",
        ),
        (gettext_noop("Alerts"), "warning", "inventory_alert", "inventory.view_alert"),
        (
            gettext_noop("Card checks"),
            "fact_check",
            "inventory_cardcheck",
            "inventory.view_cardcheck",
        ),
        (
            gettext_noop("Card ledger"),
            "history",
            "inventory_cardevent",
            "inventory.view_cardevent",
        ),
        (
            gettext_noop("Card claims"),
            "lock",
            "inventory_cardclaim",
            "inventory.view_cardclaim",
        ),
        (
            gettext_noop("Node claims"),
            "lock",
            "inventory_nodeclaim",
            "inventory.view_nodeclaim",
        ),
        (
            gettext_noop("Address claims"),
            "lock",
            "inventory_addressclaim",
            "inventory.view_addressclaim",
        ),
        (
            gettext_noop("Guest storage and network"),
            "lan",
            "inventory_guestsetup",
            "inventory.view_guestsetup",
        ),
        (
            gettext_noop("Address pools"),
            "public",
            "inventory_addresspool",
            "inventory.view_addresspool",
        ),
    ),
    gettext_noop("Work"): (
        (
            gettext_noop("Jobs"),
            "pending_actions",
            "instances_job",
            "instances.view_job",
        ),
        (
            gettext_noop("Customer events"),
            "campaign",
            "instances_event",
            "instances.view_event",
        ),
        (
            gettext_noop("Webhooks"),
            "webhook",
            "instances_webhook",
            "instances.view_webhook",
        ),
        (
            gettext_noop("Webhook deliveries"),
            "send",
            "instances_webhookdelivery",
            "instances.view_webhookdelivery",
        ),
    ),
    gettext_noop("Catalogue"): (
        (gettext_noop("Plans"), "sell", "instances_plan", "instances.view_plan"),
        (gettext_noop("Images"), "album", "instances_image", "instances.view_image"),
        (
            gettext_noop("Images on hosts"),
            "cloud_done",
            "instances_hostimage",
            "instances.view_hostimage",
        ),
        (gettext_noop("Feature flags"), "flag", "flags_flag", "flags.view_flag"),
        (
            gettext_noop("Planned flag changes"),
            "event",
            "flags_flagproposal",
            "flags.view_flagproposal",
        ),
        (
            gettext_noop("Launch decisions"),
            "gavel",
            "flags_launchdecision",
            "flags.view_launchdecision",
        ),
        (
            gettext_noop("Readiness thresholds"),
            "rule",
            "flags_readinessthreshold",
            "flags.view_readinessthreshold",
        ),
        (
            gettext_noop("Flag changes"),
            "history",
            "flags_flagchange",
            "flags.view_flagchange",
        ),
        (gettext_noop("Betas"), "science", "flags_beta", "flags.view_beta"),
        (
            gettext_noop("Beta enrolments"),
            "how_to_reg",
            "flags_betaenrolment",
            "flags.view_betaenrolment",
        ),
        (
            gettext_noop("Regions"),
            "public",
            "inventory_region",
            "inventory.view_region",
        ),
        (
            gettext_noop("GPU models"),
            "category",
            "inventory_gpumodel",
            "inventory.view_gpumodel",
        ),
        (
            gettext_noop("Check images"),
            "cleaning_services",
            "inventory_checkimage",
            "inventory.view_checkimage",
        ),
    ),
    gettext_noop("Staff"): (
        (gettext_noop("Users"), "person", "auth_user", "auth.view_user"),
        (gettext_noop("Groups"), "shield_person", "auth_group", "auth.view_group"),
        (
            gettext_noop("Access log"),
            "login",
            "instances_accessevent",
            "instances.view_accessevent",
        ),
    ),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's side bar; its SIDEBAR "navigation" setting names this function."""
    first = [
        _item(gettext_noop("Overview"), "home", "admin:index"),
        _item(
            gettext_noop("Launch"),
            "rocket_launch",
            "admin:launch",
            "instances.add_instance",
        ),
        _item(
            gettext_noop("Fleet map"), "grid_view", "admin:fleet", *FLEET_PERMISSIONS
        ),
        _item(
            gettext_noop("Capacity"),
            "donut_small",
            "admin:capacity",
            *CAPACITY_PERMISSIONS,
        ),
        _item(
            gettext_noop("Health"), "monitor_heart", "admin:health", HEALTH_PERMISSION
        ),
        _item(
            gettext_noop("Reports"), "query_stats", "admin:reports", REPORTS_PERMISSION
        ),
        _item(gettext_noop("Usage"), "payments", "admin:usage", *USAGE_PERMISSIONS),
    ]
    groups: list[dict[str, Any]] = [{"title": None, "separator": False, "items": first}]
    for title, entries in _GROUPS.items():
        items = [
            _item(name, icon, f"admin:{model}_changelist", permission)
            for name, icon, model, permission in entries
            if request.user.has_perm(permission)
        ]
        if items:
            groups.append({"title": _(title), "separator": True, "items": items})
    return groups


def _item(title: str, icon: str, url_name: str, *permissions: str) -> dict[str, Any]:
    return {
        "title": _(title),
        "icon": icon,
        "link": reverse(url_name),
        "permission": _has(permissions) if permissions else None,
    }


def _has(permissions: tuple[str, ...]) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perms(permissions)
