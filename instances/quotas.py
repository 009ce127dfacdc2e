"""Keep an account within its number of cards of a model, in the claim's transaction."""

from dataclasses import dataclass

from django.db.models import F, Q

from instances.exceptions import QuotaExceeded
from instances.models import Account, GpuQuota, Plan
from inventory import prepared
from inventory.models import GpuModel

# The account's row is the lock: two creates of one account count one after another. An
# account without a quota is neither locked nor counted.
_LOCK = """
SELECT (SELECT q.cards FROM instances_gpuquota q
         WHERE q.gpu_model_id = %(model)s
           AND (q.account_id = a.id OR q.account_id IS NULL)
         ORDER BY q.account_id NULLS LAST LIMIT 1)
  FROM instances_account a
 WHERE a.id = %(account)s AND EXISTS (
       SELECT FROM instances_gpuquota q WHERE q.gpu_model_id = %(model)s
          AND (q.account_id = a.id OR q.account_id IS NULL))
   FOR NO KEY UPDATE OF a
"""

# What a trial that runs has given counts there, and not here.
_USED = """
SELECT g.gpu_model_id, count(*)
  FROM (SELECT i.uuid FROM instances_instance i
          LEFT JOIN instances_trial t ON t.id = i.trial_id
         WHERE i.account_id = %(account)s AND i.ended_at IS NULL
           AND (t.id IS NULL OR t.ended_at IS NOT NULL)
        UNION
        SELECT uuid FROM instances_reservation
         WHERE account_id = %(account)s AND state = 'active') holder
  JOIN inventory_cardclaim k ON k.consumer = holder.uuid AND k.released_at IS NULL
  JOIN inventory_card g ON g.id = k.card_id
 GROUP BY g.gpu_model_id
"""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Cards of one model. allowed: None if there is no limit. used: held by open claims."""

    gpu_model: GpuModel
    allowed: int | None
    used: int


def check_quota(account: Account, plan: Plan, instead_of: Plan | None = None) -> None:
    """Raise QuotaExceeded if the plan's cards are more than the account may still claim.

    instead_of: a plan that an instance of the account gives up for it. The account stays
    locked until the caller's transaction ends.
    """
    if plan.gpu_model is None:
        return
    key = {"account": account.pk, "model": plan.gpu_model.pk}
    limits = prepared.rows(_LOCK, key)
    if not limits:
        return
    ((allowed,),) = limits
    # After the lock, in a statement of its own, so that it sees what others committed.
    used = _used(account).get(plan.gpu_model.pk, 0)
    wanted = plan.cards
    if instead_of is not None and instead_of.gpu_model_id == plan.gpu_model.pk:
        wanted -= instead_of.cards
    if refusal := _excess(plan.gpu_model, allowed, used, wanted):
        raise refusal


def excess(account: Account, plan: Plan, count: int) -> QuotaExceeded | None:
    """Return what check_quota() would say of `count` of the plan; nothing is locked.

    Three queries.
    """
    for use in gpu_use(account):
        if use.gpu_model.pk == plan.gpu_model_id and use.allowed is not None:
            wanted = count * plan.cards
            return _excess(use.gpu_model, use.allowed, use.used, wanted)
    return None


def _excess(
    model: GpuModel, allowed: int, used: int, wanted: int
) -> QuotaExceeded | None:
    if wanted > 0 and used + wanted > allowed:
        return QuotaExceeded(model.name, allowed=allowed, used=used, wanted=wanted)
    return None


def _used(account: Account) -> dict[int, int]:
    return dict(prepared.rows(_USED, {"account": account.pk}))


def gpu_use(account: Account) -> list[GpuUse]:
    """Return every GPU model's use by the account, by slug; three queries."""
    used = _used(account)
    models = list(GpuModel.objects.order_by("slug"))
    quotas = GpuQuota.objects.filter(Q(account=account) | Q(account=None))
    # The defaults come first, and the account's own rows replace them.
    by_model = quotas.order_by(F("account").asc(nulls_first=True))
    limits = dict(by_model.values_list("gpu_model_id", "cards"))
    return [GpuUse(m, limits.get(m.pk), used.get(m.pk, 0)) for m in models]
