"""What an account may buy where: the gate that launches and reservations share."""

from dataclasses import dataclass

from flags.availability import IS_KILLED, IS_OPEN, asking_for
from instances.exceptions import InvalidRequest, Killed
from instances.gates import gates_of
from instances.models import Account, Plan
from inventory import prepared
from inventory.models import GpuModel, Region

Errors = list[tuple[str | None, str]]

_ASKED = "f.name IN (p.flag_name, g.flag_name, r.flag_name)"
_OFFER = f"""
SELECT {prepared.columns(Plan, "p")}, {prepared.columns(GpuModel, "g")},
       {prepared.columns(Region, "r")},
       ARRAY(SELECT f.name FROM flags_flag f WHERE {_ASKED} AND {IS_OPEN}),
       ARRAY(SELECT f.name FROM flags_flag f WHERE {_ASKED} AND {IS_KILLED})
  FROM (VALUES (1)) one
  LEFT JOIN instances_plan p ON p.slug = %(plan)s AND p.is_sold
  LEFT JOIN inventory_gpumodel g ON g.id = p.gpu_model_id
  LEFT JOIN inventory_region r ON r.slug = %(region)s AND r.is_open
"""  # noqa: S608 -- made of constants


@dataclass(frozen=True, slots=True)
class Offer:
    """The rows that the slugs name, None where the account may not know of them.

    errors: what is wrong, type before region. killed: the flag without whose kill nothing
    would be wrong; empty if there is none.
    """

    plan: Plan | None
    region: Region | None
    errors: Errors
    killed: str

    def refusal(self, errors: Errors) -> InvalidRequest:
        """Return what refuses a request. errors: of this offer, and others of its own."""
        if self.killed and len(errors) <= len(self.errors):
            return Killed(errors, self.killed)
        return InvalidRequest(errors)


def offer(plan_slug: str, region_slug: str, account: Account) -> Offer:
    """Return what an account is offered; one statement.

    A plan or region behind a shut flag is refused like one that does not exist, and looked
    for in the same way.
    """
    key = {"plan": plan_slug, "region": region_slug}
    (found,) = prepared.rows(_OFFER, key | asking_for(account))
    plan, rest = prepared.load(Plan, found)
    gpu_model, rest = prepared.load(GpuModel, rest)
    region, (open_names, killed_names) = prepared.load(Region, rest)
    killed = ""
    if plan is not None:
        plan.gpu_model = gpu_model
    if plan is not None and region is not None:
        shut = {name for name in gates_of(plan, region) if name}.difference(open_names)
        killed = min(shut) if shut and shut <= set(killed_names) else ""
    known = {"", *open_names}
    if plan is not None and not known.issuperset(gates_of(plan)):
        plan = None
    if region is not None and region.flag_name not in known:
        region = None
    errors: Errors = []
    if plan is None:
        errors.append(("type", "A valid plan type by that ID was not found"))
    if region is None:
        errors.append(("region", "region is not valid"))
    return Offer(plan, region, errors, killed)
