"""Words that the rows of instances, jobs and events may hold."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Desired(TextChoices):
    """What the customer wants; actions write it, and the end of work that failed."""

    RUNNING = "running", _("running")
    OFF = "off", _("off")
    DELETED = "deleted", _("deleted")


class Phase(TextChoices):
    """How far we are; only lifecycle.advance() writes it."""

    PROVISIONING = "provisioning", _("provisioning")
    BOOTING = "booting", _("booting")
    RUNNING = "running", _("running")
    SHUTTING_DOWN = "shutting_down", _("shutting down")
    OFFLINE = "offline", _("offline")
    REBOOTING = "rebooting", _("rebooting")
    REBUILDING = "rebuilding", _("rebuilding")
    RESIZING = "resizing", _("resizing")
    DELETING = "deleting", _("deleting")
    DELETED = "deleted", _("deleted")
    FAILED = "failed", _("failed")


# What is observed of an instance, beside its DomainState: the host has no domain of it;
# it ran until its host was booted anew.
ABSENT = "absent"
CUT_OFF = "cut_off"
ENDED_PHASES = (Phase.DELETED, Phase.FAILED)
# Nothing is being done: what it is now is for `observed` to say.
REST_PHASES = (Phase.RUNNING, Phase.OFFLINE)


class ReservationState(TextChoices):
    """Only instances.reservations writes it."""

    ACTIVE = "active", _("active")
    USED = "used", _("used")
    RELEASED = "released", _("released")
    EXPIRED = "expired", _("expired")


class JobKind(TextChoices):
    LAUNCH = "launch", _("launch")
    LAUNCH_OFF = "launch_off", _("launch, left off")
    BOOT = "boot", _("boot")
    SHUTDOWN = "shutdown", _("shutdown")
    REBOOT = "reboot", _("reboot")
    REBUILD = "rebuild", _("rebuild")
    REBUILD_OFF = "rebuild_off", _("rebuild, left off")
    RESIZE = "resize", _("resize")
    RESIZE_OFF = "resize_off", _("resize, left off")
    PASSWORD = "password", _("password reset")
    APPLY_FILTER = "apply_filter", _("firewall update")
    DELETE = "delete", _("delete")
    SANITISE = "sanitise", _("sanitise and test")
    TEST = "test", _("test")
    CLEAR = "clear", _("removal of a left-over check guest")


LAUNCHES = (JobKind.LAUNCH, JobKind.LAUNCH_OFF)
REBUILDS = (JobKind.REBUILD, JobKind.REBUILD_OFF)
RESIZES = (JobKind.RESIZE, JobKind.RESIZE_OFF)
# On an instance that is there: it keeps all that it holds, however they end.
VERBS = (
    JobKind.BOOT,
    JobKind.SHUTDOWN,
    JobKind.REBOOT,
    *REBUILDS,
    *RESIZES,
    JobKind.PASSWORD,
)
# What befalls the guest after them is news, and not their own doing.
STARTS = (JobKind.LAUNCH, JobKind.BOOT, JobKind.REBOOT, JobKind.REBUILD, JobKind.RESIZE)
# Who asks for a boot that nobody asked for.
WATCHDOG = "system:watchdog"
# The guest goes on and its customer is not kept waiting: other work may be asked for.
UNNOTICED = (JobKind.APPLY_FILTER,)
INSTANCE_JOBS = (*LAUNCHES, *VERBS, *UNNOTICED, JobKind.DELETE)
CARD_JOBS = (JobKind.SANITISE, JobKind.TEST, JobKind.CLEAR)


class JobState(TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    UNWINDING = "unwinding", _("undoing")
    SUCCEEDED = "succeeded", _("done")
    FAILED = "failed", _("failed")


ENDED_JOB_STATES = (JobState.SUCCEEDED, JobState.FAILED)


class StepState(TextChoices):
    PENDING = "pending", _("to do")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    UNDONE = "undone", _("undone")


class ImageStatus(TextChoices):
    """Linode API v4, Image "status"."""

    AVAILABLE = "available", _("available")
    CREATING = "creating", _("creating")
    PENDING_UPLOAD = "pending_upload", _("pending upload")


class DiskFormat(TextChoices):
    """libvirt formatstorage "format"; the ones that images may have."""

    QCOW2 = "qcow2", "qcow2"
    RAW = "raw", "raw"


class EventStatus(TextChoices):
    """Linode API v4, Event "status"."""

    SCHEDULED = "scheduled", _("scheduled")
    STARTED = "started", _("started")
    FINISHED = "finished", _("finished")
    FAILED = "failed", _("failed")
    NOTIFICATION = "notification", _("notification")


class EventAction(TextChoices):
    """Linode API v4, Event "action"; the ones that this system writes."""

    LINODE_CREATE = "linode_create", "linode_create"
    LINODE_BOOT = "linode_boot", "linode_boot"
    LINODE_SHUTDOWN = "linode_shutdown", "linode_shutdown"
    LINODE_REBOOT = "linode_reboot", "linode_reboot"
    LINODE_REBUILD = "linode_rebuild", "linode_rebuild"
    LINODE_RESIZE = "linode_resize", "linode_resize"
    LASSIE_REBOOT = "lassie_reboot", "lassie_reboot"
    PASSWORD_RESET = "password_reset", "password_reset"
    LINODE_DELETE = "linode_delete", "linode_delete"
    LINODE_UPDATE = "linode_update", "linode_update"
    FIREWALL_CREATE = "firewall_create", "firewall_create"
    FIREWALL_UPDATE = "firewall_update", "firewall_update"
    FIREWALL_ENABLE = "firewall_enable", "firewall_enable"
    FIREWALL_DISABLE = "firewall_disable", "firewall_disable"
    FIREWALL_RULES_UPDATE = "firewall_rules_update", "firewall_rules_update"
    FIREWALL_DEVICE_ADD = "firewall_device_add", "firewall_device_add"
    FIREWALL_DEVICE_REMOVE = "firewall_device_remove", "firewall_device_remove"
    FIREWALL_DELETE = "firewall_delete", "firewall_delete"
    PLACEMENT_GROUP_CREATE = "placement_group_create", "placement_group_create"
    PLACEMENT_GROUP_UPDATE = "placement_group_update", "placement_group_update"
    PLACEMENT_GROUP_DELETE = "placement_group_delete", "placement_group_delete"
    PLACEMENT_GROUP_ASSIGN = "placement_group_assign", "placement_group_assign"
    PLACEMENT_GROUP_UNASSIGN = "placement_group_unassign", "placement_group_unassign"
    # Not Linode's.
    GPU_REPORT = "gpu_report", "gpu_report"
    GPU_AVAILABLE = "gpu_available", "gpu_available"
    TRIAL_GRANTED = "gpucloud_trial_granted", "gpucloud_trial_granted"
    TRIAL_ENDING = "gpucloud_trial_ending", "gpucloud_trial_ending"
    TRIAL_ENDED = "gpucloud_trial_ended", "gpucloud_trial_ended"
    PRODUCT_LAUNCHED = "gpu_product_launched", "gpu_product_launched"
    WEBHOOK_DISABLED = "gpucloud_webhook_disabled", "gpucloud_webhook_disabled"


class EntityType(TextChoices):
    """Linode API v4, Event "entity.type", and our own: what an event is about."""

    LINODE = "linode", "linode"
    FIREWALL = "firewall", "firewall"
    PLACEMENT_GROUP = "placement_group", "placement_group"
    WEBHOOK = "webhook", "webhook"
    WAITLIST = "waitlist", "waitlist"
    TRIAL = "trial", "trial"
    PLAN = "type", "type"
    REGION = "region", "region"


class WaitState(TextChoices):
    WAITING = "waiting", _("waiting")
    TOLD = "told", _("told")
    EXPIRED = "expired", _("waited too long")
    CANCELLED = "cancelled", _("cancelled")


class DeliveryState(TextChoices):
    PENDING = "pending", _("pending")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed")


class FirewallStatus(TextChoices):
    """Linode API v4, Firewall "status"; a deleted one is gone."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")


class PlacementPolicy(TextChoices):
    """Linode API v4, PlacementGroup "placement_group_policy"."""

    STRICT = "strict", _("strict")
    FLEXIBLE = "flexible", _("flexible")


class PlanClass(TextChoices):
    """Linode API v4, LinodeType "class"; the ones that are sold here."""

    NANODE = "nanode", "nanode"
    GPU = "gpu", "gpu"
    STANDARD = "standard", "standard"
    DEDICATED = "dedicated", "dedicated"


class Workload(TextChoices):
    """What an account says that it uses an instance for."""

    CLOUD_GAMING = "cloud_gaming", _("cloud gaming")
    RENDERING = "rendering", _("rendering")
    TRANSCODING = "transcoding", _("transcoding")
    PASSWORD_TESTING = "password_testing", _("password testing")
    MACHINE_LEARNING = "machine_learning", _("machine learning")
    OTHER = "other", _("other")


class AfterTrial(TextChoices):
    """What becomes of the instances of a trial that is over."""

    DELETE = "delete", _("shut down, and deleted after a while")
    BILL = "bill", _("billed from then on")


class TrialEnd(TextChoices):
    """Why a trial was over."""

    OVER = "over", _("its time was over")
    USED_UP = "used_up", _("its hours were used up")
    CUT = "cut", _("it was cut short")
