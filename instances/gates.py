"""Which flags a sale must pass: those of its plan, its GPU model and its region."""

from django.db.models import Q

from flags.availability import is_available, killed_flags
from flags.gate_lock import HOLD_GATES
from instances.models import Account, Job, Plan, RefusedDemand
from inventory import prepared
from inventory.models import Region


def gates_of(plan: Plan, region: Region | None = None) -> tuple[str, ...]:
    """Return the flags' names; empty ones are no gate. region: None for any."""
    return (
        plan.flag_name,
        plan.gpu_model.flag_name if plan.gpu_model else "",
        region.flag_name if region else "",
    )


def behind(flag_name: str, plan: str = "plan", region: str = "region") -> Q:
    """Return the condition on rows with a plan and a region that they are behind a flag.

    The same as that gates_of() names it. plan, region: the ways to them.
    """
    ways = (plan, f"{plan}__gpu_model", region)
    return Q(*((f"{way}__flag_name", flag_name) for way in ways), _connector=Q.OR)


def hold_gates() -> None:
    """Keep all gates as they are until the caller's transaction, a claim's, has ended.

    Before they are asked, and before any other lock. Claims do not wait for one another.
    """
    prepared.rows(HOLD_GATES, {})


def is_on_sale(plan: Plan, region: Region, account: Account) -> bool:
    """Say whether the account may have the plan there: sold, and all gates open."""
    is_sold = plan.is_sold and region.is_open
    return is_sold and is_available(gates_of(plan, region), account)


def let_through(job: Job, plan: Plan, region: Region, account: Account) -> bool:
    """Say whether the gates are open for what a job has claimed; count a kill once."""
    gates = gates_of(plan, region)
    if is_available(gates, account):
        return True
    if killed := killed_flags(gates, account):
        RefusedDemand.objects.get_or_create(
            job=job,
            defaults={
                "account": account,
                "plan": plan,
                "region": region,
                "reason": RefusedDemand.Reason.KILLED,
                "flag_name": min(killed),
                "is_employee": account.is_employee,
            },
        )
    return False
