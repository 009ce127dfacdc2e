"""What an account may buy where: the gate that launches and reservations share."""

from flags.availability import IS_OPEN
from instances.models import Account, Plan
from inventory import prepared
from inventory.models import GpuModel, Region

_OFFER = f"""
SELECT {prepared.columns(Plan, "p")}, {prepared.columns(GpuModel, "g")},
       {prepared.columns(Region, "r")},
       p.flag_name = '' OR EXISTS (
           SELECT FROM flags_flag f WHERE f.name = p.flag_name AND {IS_OPEN})
  FROM (VALUES (1)) one
  LEFT JOIN instances_plan p ON p.slug = %(plan)s AND p.is_sold
  LEFT JOIN inventory_gpumodel g ON g.id = p.gpu_model_id
  LEFT JOIN inventory_region r ON r.slug = %(region)s AND r.is_open
"""  # noqa: S608 -- made of constants


def offer(
    plan_slug: str, region_slug: str, account: Account
) -> tuple[Plan | None, Region | None, list[tuple[str | None, str]]]:
    """Return the rows that the slugs name, and what is wrong, type before region.

    One statement. A plan behind a shut flag is refused like one that does not exist.
    """
    errors: list[tuple[str | None, str]] = []
    key = {"plan": plan_slug, "region": region_slug}
    whose = {"account": account.pk, "tags": list(account.tags)}
    (found,) = prepared.rows(_OFFER, {**key, **whose})
    plan, rest = prepared.load(Plan, found)
    gpu_model, rest = prepared.load(GpuModel, rest)
    region, (is_open,) = prepared.load(Region, rest)
    if plan is None or not is_open:
        plan = None
        errors.append(("type", "A valid plan type by that ID was not found"))
    else:
        plan.gpu_model = gpu_model
    if region is None:
        errors.append(("region", "region is not valid"))
    return plan, region, errors
