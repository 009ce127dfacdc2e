"""What an account may buy where: the gate that launches and reservations share."""

from flags.availability import is_available
from instances.models import Account, Plan
from inventory.models import Region


def offer(
    plan_slug: str, region_slug: str, account: Account
) -> tuple[Plan | None, Region | None, list[tuple[str | None, str]]]:
    """Return the rows that the slugs name, and what is wrong, type before region."""
    errors: list[tuple[str | None, str]] = []
    plan = (
        Plan.objects.select_related("gpu_model")
        .filter(slug=plan_slug, is_sold=True)
        .first()
    )
    # A plan behind a shut flag is refused like one that does not exist.
    if plan is None or not is_available(plan.flag_name, account):
        plan = None
        errors.append(("type", "A valid plan type by that ID was not found"))
    region = Region.objects.filter(slug=region_slug, is_open=True).first()
    if region is None:
        errors.append(("region", "region is not valid"))
    return plan, region, errors
