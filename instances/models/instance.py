"""A customer's machine: desired, phase and observed are three facts, kept apart."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from instances.choices import ENDED_PHASES, REST_PHASES, Desired, Phase
from instances.models.account import Account
from instances.models.catalogue import Image, Plan
from instances.models.trial import Trial
from inventory.models import Region

_AFTER_ITS_LAUNCH = (
    *REST_PHASES,
    Phase.SHUTTING_DOWN,
    Phase.REBOOTING,
    Phase.REBUILDING,
    Phase.RESIZING,
)


class Instance(models.Model):
    """uuid is the claims' consumer and the libvirt domain's UUID."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="instances"
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    region = models.ForeignKey(Region, on_delete=models.PROTECT)
    image = models.ForeignKey(Image, on_delete=models.PROTECT)
    label = models.CharField(max_length=64)
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    trial = models.ForeignKey(
        Trial,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="instances",
        help_text="That it was launched in.",
    )
    next_image = models.ForeignKey(
        Image,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Of a rebuild that has not taken the old disk yet.",
    )
    desired = models.CharField(max_length=8, choices=Desired, default=Desired.RUNNING)
    phase = models.CharField(max_length=16, choices=Phase, default=Phase.PROVISIONING)
    observed = models.CharField(
        max_length=20, blank=True, help_text="The domain's state when last seen."
    )
    observed_at = models.DateTimeField(null=True, blank=True)
    watchdog_enabled = models.BooleanField(
        "watchdog", default=True, help_text="A guest that crashed is started again."
    )
    created_by = models.CharField(max_length=150, help_text="user:NAME")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    ready_at = models.DateTimeField(
        null=True, blank=True, help_text="When its launch had made it."
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True, editable=False)
    request_digest = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Of the create's body."
    )

    claim_set = models.PositiveSmallIntegerField(
        default=1, editable=False, help_text="Of its claims; a resize makes the next."
    )
    generation = models.PositiveIntegerField(
        default=1, editable=False, help_text="Of its disk; a rebuild makes the next."
    )
    has_user_data = models.BooleanField(default=False)
    metadata_digest = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Of the seed that it has."
    )
    filter_wanted = models.PositiveIntegerField(
        default=0, editable=False, help_text="Changes of its firewall."
    )
    filter_applied = models.PositiveIntegerField(
        default=0, editable=False, help_text="Those that its host was told of."
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "label"],
                condition=~Q(phase__in=ENDED_PHASES),
                name="instance_label_once_per_account",
            ),
            models.UniqueConstraint(
                fields=["account", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="instance_once_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=Q(phase__in=ENDED_PHASES, ended_at__isnull=False)
                | (~Q(phase__in=ENDED_PHASES) & Q(ended_at=None)),
                name="instance_ended_at_iff_ended",
            ),
            models.CheckConstraint(
                condition=~Q(phase=Phase.FAILED) | Q(ready_at=None),
                name="instance_failed_was_never_ready",
            ),
            models.CheckConstraint(
                condition=~Q(phase__in=_AFTER_ITS_LAUNCH) | Q(ready_at__isnull=False),
                name="instance_at_its_work_was_ready",
            ),
            models.CheckConstraint(
                condition=Q(next_image=None) | ~Q(phase__in=REST_PHASES),
                name="instance_next_image_only_in_a_rebuild",
            ),
            models.CheckConstraint(
                condition=Q(filter_applied__lte=F("filter_wanted")),
                name="instance_filter_applied_was_wanted",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "phase"], name="instance_by_account"),
            models.Index(
                fields=["id"],
                name="instance_filter_due",
                condition=Q(filter_applied__lt=F("filter_wanted"), ended_at=None),
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def is_ended(self) -> bool:
        return self.phase in ENDED_PHASES

    @property
    def cloud_init_id(self) -> str:
        """What cloud-init tells one machine from another by."""
        return f"{self.uuid}-{self.generation}"


class SeedSettings(models.Model):
    """What only the guest may know, from the request until its seed is in use.

    The row goes when the job that uses it ends. password_hash: SHA-512 crypt.
    user_data: sealed (instances.sealed_user_data).
    """

    instance = models.OneToOneField(
        Instance,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="seed_settings",
    )
    authorized_keys = ArrayField(models.TextField(), default=list)
    password_hash = models.CharField(max_length=200, blank=True)
    user_data = models.BinaryField(default=bytes)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(password_hash__regex=r"^(\$6\$.+)?$"),  # noqa: S106
                name="seed_password_is_hashed",
            )
        ]

    def __str__(self) -> str:
        return f"seed of {self.instance_id}"
