"""Words that the rows of instances, jobs and events may hold."""

from django.db.models import TextChoices


class Desired(TextChoices):
    """What the customer wants; only actions write it."""

    RUNNING = "running", "running"
    DELETED = "deleted", "deleted"


class Phase(TextChoices):
    """How far we are; only lifecycle.advance() writes it."""

    PROVISIONING = "provisioning", "provisioning"
    BOOTING = "booting", "booting"
    RUNNING = "running", "running"
    DELETING = "deleting", "deleting"
    DELETED = "deleted", "deleted"
    FAILED = "failed", "failed"


# What is observed of an instance whose host has no domain of it; else its DomainState.
ABSENT = "absent"
ENDED_PHASES = (Phase.DELETED, Phase.FAILED)


class ReservationState(TextChoices):
    """Only instances.reservations writes it."""

    ACTIVE = "active", "active"
    USED = "used", "used"
    RELEASED = "released", "released"
    EXPIRED = "expired", "expired"


class JobKind(TextChoices):
    LAUNCH = "launch", "launch"
    DELETE = "delete", "delete"
    SANITISE = "sanitise", "sanitise and test"
    TEST = "test", "test"
    CLEAR = "clear", "removal of a left-over check guest"


INSTANCE_JOBS = (JobKind.LAUNCH, JobKind.DELETE)
CARD_JOBS = (JobKind.SANITISE, JobKind.TEST, JobKind.CLEAR)


class JobState(TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    UNWINDING = "unwinding", "undoing"
    SUCCEEDED = "succeeded", "done"
    FAILED = "failed", "failed"


ENDED_JOB_STATES = (JobState.SUCCEEDED, JobState.FAILED)


class StepState(TextChoices):
    PENDING = "pending", "to do"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    UNDONE = "undone", "undone"


class ImageStatus(TextChoices):
    """Linode API v4, Image "status"."""

    AVAILABLE = "available", "available"
    CREATING = "creating", "creating"
    PENDING_UPLOAD = "pending_upload", "pending upload"


class DiskFormat(TextChoices):
    """libvirt formatstorage "format"; the ones that images may have."""

    QCOW2 = "qcow2", "qcow2"
    RAW = "raw", "raw"


class EventStatus(TextChoices):
    """Linode API v4, Event "status"."""

    SCHEDULED = "scheduled", "scheduled"
    STARTED = "started", "started"
    FINISHED = "finished", "finished"
    FAILED = "failed", "failed"
    NOTIFICATION = "notification", "notification"


class EventAction(TextChoices):
    """Linode API v4, Event "action"; the ones that this system writes."""

    LINODE_CREATE = "linode_create", "linode_create"
    LINODE_BOOT = "linode_boot", "linode_boot"
    LINODE_DELETE = "linode_delete", "linode_delete"
    LINODE_UPDATE = "linode_update", "linode_update"


class PlanClass(TextChoices):
    """Linode API v4, LinodeType "class"; the ones that are sold here."""

    GPU = "gpu", "gpu"
    STANDARD = "standard", "standard"
    DEDICATED = "dedicated", "dedicated"
