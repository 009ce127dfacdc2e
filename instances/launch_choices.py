"""What staff can choose from when they launch, and a default that needs one click."""

from dataclasses import dataclass

from django.db.models import Case, Q, QuerySet, When
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flags.availability import is_available, open_accounts
from instances.capacity import sellable_by_plan
from instances.choices import ImageStatus
from instances.gates import gates_of
from instances.models import Account, Image, Plan
from instances.models.account import EMPLOYEE_TAG
from inventory.models import Region

# Of many thousands nobody finds one in a list; an account's own page launches for it.
ACCOUNTS_LISTED = 300


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """fits: how many more fit in the region now; alternatives, not a sum."""

    plan: Plan
    fits: int

    def __str__(self) -> str:
        if not self.fits:
            told = _("%(plan)s · none fit")
        else:
            told = ngettext(
                "%(plan)s · %(fits)s fits", "%(plan)s · %(fits)s fit", self.fits
            )
        return told % {"plan": self.plan.label, "fits": self.fits}


@dataclass(frozen=True, slots=True)
class LaunchChoices:
    """All lists in the order in which they are shown; a default is None if there is none.

    has_more_accounts: only the first ACCOUNTS_LISTED are in the list.
    """

    regions: list[Region]
    plans: list[PlanChoice]
    accounts: list[Account]
    has_more_accounts: bool
    images: list[Image]
    region: Region | None
    plan: Plan | None
    account: Account | None
    image: Image | None


def launch_choices(
    region_slug: str = "", plan_slug: str = "", account_id: str = ""
) -> LaunchChoices:
    """Return what can be chosen; what was chosen already is kept where it exists.

    Without a choice: the first region where a sold plan fits, the first plan that fits
    there, and the first account for which the flags of both are open, employees before
    customers. Six queries, and five a region until one is found.
    """
    regions = list(Region.objects.filter(is_open=True))
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    wanted = [plan for plan in plans if plan.slug == plan_slug]
    region, fits = _region(regions, region_slug, plans, wanted)
    fitting = [plan for plan in plans if fits.get(plan.slug)]
    plan = next(iter([*wanted, *fitting, *plans]), None)
    account = _account(plan, region, account_id)
    listed = list(_employees_first()[: ACCOUNTS_LISTED + 1])
    accounts = listed[:ACCOUNTS_LISTED]
    if account is not None and account not in accounts:
        accounts.append(account)
    images = list(Image.objects.filter(status=ImageStatus.AVAILABLE, is_offered=True))
    return LaunchChoices(
        regions=regions,
        plans=[PlanChoice(p, fits.get(p.slug, 0)) for p in plans],
        accounts=accounts,
        has_more_accounts=len(listed) > ACCOUNTS_LISTED,
        images=images,
        region=region,
        plan=plan,
        account=account,
        image=next(iter(images), None),
    )


def _region(
    regions: list[Region], slug: str, plans: list[Plan], wanted: list[Plan]
) -> tuple[Region | None, dict[str, int]]:
    """Return the region to show, and plan slug -> how many fit there.

    The one that was chosen, else where the wanted plan fits, else where any plan does.
    """
    seen: list[tuple[Region | None, dict[str, int]]] = []
    for region in [region for region in regions if region.slug == slug] or regions:
        fits = sellable_by_plan(region, plans)
        if any(fits[plan.slug] for plan in wanted or plans):
            return region, fits
        seen.append((region, fits))
    with_room = [(region, fits) for region, fits in seen if any(fits.values())]
    return next(iter([*with_room, *seen]), (None, {}))


def _account(
    plan: Plan | None, region: Region | None, account_id: str
) -> Account | None:
    """Return the chosen account, else the first that may have it, else the first."""
    chosen = (
        Account.objects.filter(pk=account_id).first()
        if account_id.isdecimal()
        else None
    )
    if chosen is not None:
        return chosen
    gates = gates_of(plan, region) if plan else ()
    entitled = open_accounts(gates, _employees_first()).first()
    return entitled or _employees_first().first()


def _employees_first() -> QuerySet[Account]:
    is_employee = Q(tags__contains=[EMPLOYEE_TAG])
    return Account.objects.annotate(
        rank=Case(When(is_employee, then=0), default=1)
    ).order_by("rank", "name")


def why_not_offered(plan_slug: str, account: Account) -> str:
    """Say why a plan that staff can see is refused for `account`; empty if it is not."""
    plan = Plan.objects.filter(slug=plan_slug).select_related("gpu_model").first()
    if plan is None:
        return _("This plan is no longer there.")
    if not plan.is_sold:
        return _("%(plan)s is no longer sold.") % {"plan": plan}
    return _why_shut(plan, gates_of(plan), account)


def why_not_offered_there(region_slug: str, account: Account) -> str:
    """Say the same of a region; empty if it is open for `account`."""
    region = Region.objects.filter(slug=region_slug, is_open=True).first()
    if region is None:
        return _("This region is closed, or no longer there.")
    return _why_shut(region, (region.flag_name,), account)


def _why_shut(
    what: Plan | Region, flag_names: tuple[str, ...], account: Account
) -> str:
    shut = [name for name in flag_names if not is_available([name], account)]
    if not shut:
        return ""
    return _(
        "%(what)s is not open to %(account)s: the flag %(flag)s is shut for it. Open it "
        "to the account or to the tag “%(tag)s” under Feature flags."
    ) % {"what": what, "account": account, "flag": shut[0], "tag": EMPLOYEE_TAG}
