"""Places in the waitlist as plain dicts."""

from typing import Any

from instances.api import wire
from instances.api.shapes import waitlist as shapes


def entry_json(entry: Any) -> shapes.WaitlistEntry:
    """entry: of shown_entries_of(), with the annotations status and position."""
    held = entry.reservation
    return {
        "id": entry.pk,
        "type": entry.plan.slug,
        "region": entry.region.slug,
        "status": entry.status,
        "position": entry.position if entry.status == "waiting" else None,
        "reservation": held.pk if held else None,
        "held_until": wire.time_of(held.expires_at) if held else None,
        "created": wire.time_of(entry.created_at),
        "expires": wire.time_of(entry.expires_at),
    }
