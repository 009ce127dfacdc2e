"""What opens when a flag is launched: its plans by region, and how many of each fit now."""

from dataclasses import dataclass

from instances.capacity import sellable_everywhere
from instances.gates import gates_of
from instances.models import Plan
from instances.stranded import stranded_cards
from inventory.models import Region


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan in a region behind the flag. other_gates: flags that it needs besides."""

    plan: Plan
    region: Region
    other_gates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """fits: how many more launches, alternatives and no sum."""

    offer: Offer
    fits: int


def offers_behind(flag_name: str) -> list[Offer]:
    """Return what is sold behind the flag, by region and position; two queries."""
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    found = []
    for region in Region.objects.filter(is_open=True):
        for plan in plans:
            gates = {name for name in gates_of(plan, region) if name}
            if flag_name in gates:
                others = tuple(sorted(gates - {flag_name}))
                found.append(Offer(plan, region, others))
    return found


def counted(offers: list[Offer]) -> list[Counted]:
    """Return how many of each fit now; one query."""
    fits = sellable_everywhere({offer.plan.pk: offer.plan for offer in offers}.values())
    return [
        Counted(offer, fits.get(offer.region.pk, {}).get(offer.plan.slug, 0))
        for offer in offers
    ]


def stranded_in_regions(offers: list[Offer]) -> dict[str, int]:
    """Return region slug -> free cards there that no plan can use; nine queries a region."""
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    regions = {offer.region.slug: offer.region for offer in offers}
    return {
        slug: stranded_cards(region, plans).total for slug, region in regions.items()
    }
