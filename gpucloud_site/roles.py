"""The roles of staff as data: groups and their permissions; load_roles writes them.

Of a group with such a name nothing but these permissions stays; a company's own roles have
other names.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q

REPORTS = "instances.view_reports"


def _view(app: str, *models: str) -> tuple[str, ...]:
    return tuple(f"{app}.view_{model}" for model in models)


def _edit(app: str, *models: str) -> tuple[str, ...]:
    verbs = ("view", "add", "change")
    return tuple(f"{app}.{verb}_{model}" for model, verb in product(models, verbs))


def _all_of(*apps_: str) -> Iterator[str]:
    for permission in Permission.objects.filter(content_type__app_label__in=apps_):
        yield f"{permission.content_type.app_label}.{permission.codename}"


_CUSTOMERS = _view(
    "instances",
    *(
        "account",
        "instance",
        "reservation",
        "gpuquota",
        "event",
        "job",
        "plan",
        "image",
    ),
    *("apitoken", "apichange", "sshkey", "usageinterval", "refuseddemand"),
    *("waitlistentry", "webhook", "webhookdelivery"),
    *("placementgroup", "placementmember"),
    *("invoice", "invoicedmonth", "invoiceitem"),
    *("instancefeedback", "trial"),
)
_FLEET = _view(
    "inventory",
    *(
        model.__name__.lower()
        for model in apps.get_app_config("inventory").get_models()
    ),
)
_LAUNCH = (
    *("instances.add_instance", "instances.change_instance"),
    *("instances.delete_instance", "instances.change_job"),
    *("instances.add_reservation", "instances.delete_reservation"),
    *("instances.add_trial", "instances.change_trial"),
)
# To shut is no harm; what opens a flag, or takes a kill back, is for admins.
_KILL = (*_view("flags", "flag", "flagchange", "flagproposal"), "flags.kill_flag")
_OPERATE = (
    *("inventory.add_host", "inventory.change_host", "inventory.change_card"),
    *("inventory.change_discrepancy", "inventory.change_alert"),
    *("inventory.force_release", "instances.change_job"),
    *_edit(
        "inventory", "addresspool", "guestsetup", "checkimage", "gpumodel", "region"
    ),
    *_view("instances", "instance", "account", "job", "event", "plan", "reservation"),
    *_view("instances", "hostimage", "refuseddemand"),
    *_edit("instances", "image"),
)
# To see the fleet does no harm, and what a customer asks often ends there.
_SEE = (*_CUSTOMERS, *_FLEET, "auth.view_user")
# Superusers need no group. Who may edit users may make themselves anything.
ROLES: dict[str, tuple[str, ...]] = {
    "Support": _SEE,
    "Staff": (*_SEE, *_LAUNCH, *_KILL),
    "Fleet operators": (*_FLEET, *_OPERATE, *_KILL),
    "Product managers": (REPORTS,),
    "Admins": (),
}
_EVERYTHING = ("instances", "inventory", "flags", "auth")


def load_roles() -> dict[str, int]:
    """Have each role's group with exactly its permissions; return how many, by name.

    Raises ValueError that names a permission which no app has.
    """
    with transaction.atomic():
        return {name: _load(name, named) for name, named in ROLES.items()}


def _load(name: str, named: Iterable[str]) -> int:
    wanted = set(named) or set(_all_of(*_EVERYTHING))
    chosen = Q()
    for permission in wanted:
        app, _, codename = permission.partition(".")
        chosen |= Q(content_type__app_label=app, codename=codename)
    found = list(Permission.objects.filter(chosen).select_related("content_type"))
    missing = wanted - {f"{p.content_type.app_label}.{p.codename}" for p in found}
    if missing:
        raise ValueError(f"role {name}: there is no permission {min(missing)}")
    group, _ = Group.objects.get_or_create(name=name)
    group.permissions.set(found)
    return len(found)
