"""Reservations, quotas and availability as plain dicts."""

from instances.api import wire
from instances.api.shapes import reservations as shapes
from instances.models import Plan, Reservation
from instances.quotas import GpuUse
from inventory.models import Region


def reservation_json(reservation: Reservation) -> shapes.Reservation:
    """Needs plan and region, and the annotation linode_id of reservations_of()."""
    return {
        "id": reservation.pk,
        "type": reservation.plan.slug,
        "region": reservation.region.slug,
        "gpus": reservation.plan.cards,
        "status": reservation.state,
        "created": wire.time_of(reservation.created_at),
        "expires": wire.time_of(reservation.expires_at),
        # Absent where the row was just made: then nothing has used it.
        "linode_id": getattr(reservation, "linode_id", None),
    }


def quota_json(use: GpuUse) -> shapes.Quota:
    return {
        "gpu_model": use.gpu_model.slug,
        "label": use.gpu_model.name,
        "allowed": use.allowed,
        "used": use.used,
    }


def availability_json(
    region: Region, plan: Plan, fits: int
) -> shapes.RegionAvailability:
    return {"region": region.slug, "plan": plan.slug, "available": fits > 0}
