"""Usage as plain dicts."""

from instances.api import wire
from instances.api.shapes.usage import Usage
from instances.price import Month
from instances.usage_report import UsageLine


def usage_json(month: Month, line: UsageLine) -> Usage:
    return {
        "month": str(month),
        "linode_id": line.instance.pk,
        "label": line.instance.label,
        "region": line.instance.region.slug,
        "type": line.plan.slug,
        "gpus": line.plan.cards,
        "begin": wire.time_of(line.starts_at),
        "end": wire.time_of(line.ends_at) if line.ends_at else None,
        "hours": line.charge.hours,
        "gpu_hours": line.card_hours,
        "is_billed": line.charge.is_billed,
        "amount": wire.number_of(line.billed),
    }
