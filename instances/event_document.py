"""An event as customers get it, whether they ask for it or it is pushed to them."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from instances.choices import EntityType
from instances.models import Event
from instances.moments import time_of

if TYPE_CHECKING:
    from instances.api.shapes.account import Event as EventShape
    from instances.api.shapes.common import Entity

# The alias /v4beta is never named.
_PATHS = {
    EntityType.LINODE: "/v4/linode/instances",
    EntityType.FIREWALL: "/v4/networking/firewalls",
    EntityType.PLACEMENT_GROUP: "/v4/placement/groups",
    EntityType.WEBHOOK: "/v4/gpucloud/webhooks",
    EntityType.WAITLIST: "/v4/gpucloud/waitlist",
    EntityType.TRIAL: "/v4/gpucloud/trials",
    EntityType.PLAN: "/v4/linode/types",
    EntityType.REGION: "/v4/regions",
}
# They are asked for by what labels them.
_ASKED_BY_LABEL = (EntityType.PLAN, EntityType.REGION)


def event_json(event: Event) -> "EventShape":
    return {
        "id": event.pk,
        "action": event.action,
        "status": event.status,
        "percent_complete": event.percent_complete,
        "created": time_of(event.created_at),
        "duration": _seconds_between(event.started_at, event.finished_at),
        "entity": entity_json(event.entity_id, event.entity_label, event.entity_type),
        "secondary_entity": _secondary(event),
        "message": event.message or None,
        "username": event.username or None,
        "seen": event.seen,
        "read": event.seen,
        "rate": None,
        "time_remaining": None,
    }


def entity_json(
    entity_id: int, label: str, entity_type: str = EntityType.LINODE
) -> "Entity":
    key = label if entity_type in _ASKED_BY_LABEL else entity_id
    return {
        "id": entity_id,
        "label": label,
        "type": entity_type,
        "url": f"{_PATHS[EntityType(entity_type)]}/{key}",
    }


def _secondary(event: Event) -> "Entity | None":
    if event.secondary_entity_id is None:
        return None
    return entity_json(event.secondary_entity_id, event.secondary_entity_label)


def event_of(columns: Mapping[str, Any]) -> Event:
    """Return the event whose row was once these columns, as PostgreSQL's to_jsonb() has it.

    A column that is newer than they has its default.
    """
    # A foreign key's column is named as its attribute.
    fields = Event._meta.concrete_fields  # noqa: SLF001 -- Django documents it
    known = [f for f in fields if f.attname in columns]
    return Event(**{f.attname: f.to_python(columns[f.attname]) for f in known})


def _seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from start to end; None while one of them is open."""
    return None if start is None or end is None else (end - start).total_seconds()
