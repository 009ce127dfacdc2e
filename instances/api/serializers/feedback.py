"""What an account says of an instance, as a plain dict."""

from typing import cast

from instances.api import wire
from instances.api.shapes import feedback as shapes
from instances.models import Instance, InstanceFeedback


def feedback_json(instance: Instance, row: InstanceFeedback | None) -> shapes.Feedback:
    """row: None while nothing was said."""
    return {
        "linode_id": instance.pk,
        "workload": cast(shapes.WorkloadWord, row.workload) if row else None,
        "text": row.text if row else "",
        "would_use_again": row.would_use_again if row else None,
        "updated": wire.time_of(row.updated_at) if row else None,
    }
