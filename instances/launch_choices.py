"""What staff can choose from when they launch, and a default that needs one click."""

from dataclasses import dataclass

from flags.availability import open_flags
from instances.capacity import sellable_by_plan
from instances.choices import ImageStatus
from instances.models import Account, Image, Plan
from instances.models.account import EMPLOYEE_TAG
from inventory.models import Region


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """fits: how many more fit in the region now; alternatives, not a sum."""

    plan: Plan
    fits: int

    def __str__(self) -> str:
        return f"{self.plan.label} · {self.fits or 'none'} fit{'s' * (self.fits == 1)}"


@dataclass(frozen=True, slots=True)
class LaunchChoices:
    """All lists in the order in which they are shown; a default is None if there is none."""

    regions: list[Region]
    plans: list[PlanChoice]
    accounts: list[Account]
    images: list[Image]
    region: Region | None
    plan: Plan | None
    account: Account | None
    image: Image | None


def launch_choices(region_slug: str = "", plan_slug: str = "") -> LaunchChoices:
    """Return what can be chosen; what was chosen already is kept where it exists.

    Without a choice: the first region where a sold plan fits, the first plan that fits
    there, and the first account for which that plan's flag is open, employees before
    customers. A few queries a region, two an account until one is found.
    """
    regions = list(Region.objects.filter(is_open=True))
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    wanted = [plan for plan in plans if plan.slug == plan_slug]
    region, fits = _region(regions, region_slug, plans, wanted)
    plan = next(
        iter(wanted),
        next((p for p in plans if fits.get(p.slug)), next(iter(plans), None)),
    )
    accounts = sorted(Account.objects.all(), key=lambda a: (not a.is_employee, a.name))
    images = list(Image.objects.filter(status=ImageStatus.AVAILABLE))
    return LaunchChoices(
        regions=regions,
        plans=[PlanChoice(p, fits.get(p.slug, 0)) for p in plans],
        accounts=accounts,
        images=images,
        region=region,
        plan=plan,
        account=_account(accounts, plan),
        image=next(iter(images), None),
    )


def _region(
    regions: list[Region], slug: str, plans: list[Plan], wanted: list[Plan]
) -> tuple[Region | None, dict[str, int]]:
    """Return the region to show, and plan slug -> how many fit there."""
    chosen = [region for region in regions if region.slug == slug]
    first: tuple[Region | None, dict[str, int]] = (None, {})
    for region in chosen or regions:
        fits = sellable_by_plan(region, plans)
        if any(fits[plan.slug] for plan in wanted or plans):
            return region, fits
        if first[0] is None:
            first = (region, fits)
    return first


def _account(accounts: list[Account], plan: Plan | None) -> Account | None:
    for account in accounts:
        if plan is None or not plan.flag_name or open_flags([plan.flag_name], account):
            return account
    return next(iter(accounts), None)


def why_not_offered(plan_slug: str, account: Account) -> str:
    """Say why a plan that staff can see is refused for `account`; empty if it is not."""
    plan = Plan.objects.filter(slug=plan_slug).first()
    if plan is None:
        return "This plan is no longer there."
    if not plan.is_sold:
        return f"{plan} is no longer sold."
    if plan.flag_name and not open_flags([plan.flag_name], account):
        return (
            f"{plan} is not open to {account}: the flag {plan.flag_name} is shut for it. "
            f"Open it to the account or to the tag “{EMPLOYEE_TAG}” under Feature flags."
        )
    return ""
