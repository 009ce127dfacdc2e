"""Work on an instance or a card: steps, lease, attempts, deadline."""

from django.db import models
from django.db.models import Q

from instances.choices import (
    CARD_JOBS,
    INSTANCE_JOBS,
    UNNOTICED,
    JobKind,
    JobState,
    StepState,
)
from instances.models.instance import Instance
from inventory.models import Card


class Job(models.Model):
    """lease_token fences: a worker whose lease was taken over can write nothing more."""

    kind = models.CharField(max_length=12, choices=JobKind)
    instance = models.ForeignKey(
        Instance,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="jobs",
    )
    card = models.ForeignKey(
        Card, null=True, blank=True, on_delete=models.PROTECT, related_name="jobs"
    )
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    actor = models.CharField(max_length=150, help_text="Who asked: user:NAME.")
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    lease_holder = models.CharField(
        max_length=150, blank=True, help_text="Machine, boot and process at work on it."
    )
    not_before = models.DateTimeField(
        null=True, blank=True, help_text="When the next attempt may start."
    )
    deadline_at = models.DateTimeField(help_text="After this it is undone, not done.")
    public_message = models.CharField(max_length=500, blank=True)
    internal_detail = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["instance"],
                condition=Q(state__in=[JobState.RUNNING, JobState.UNWINDING]),
                name="job_one_at_work_per_instance",
            ),
            models.UniqueConstraint(
                fields=["instance"],
                # A delete waits behind the work that it puts an end to; what nobody
                # notices before or behind any other.
                condition=~Q(state__in=[JobState.SUCCEEDED, JobState.FAILED])
                & ~Q(kind__in=[JobKind.DELETE, *UNNOTICED]),
                name="job_one_open_per_instance",
            ),
            models.UniqueConstraint(
                fields=["instance", "kind"],
                condition=~Q(state__in=[JobState.SUCCEEDED, JobState.FAILED])
                & Q(kind__in=UNNOTICED),
                name="job_one_unnoticed_per_instance",
            ),
            models.UniqueConstraint(
                fields=["card"],
                condition=~Q(state__in=[JobState.SUCCEEDED, JobState.FAILED]),
                name="job_one_open_per_card",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=INSTANCE_JOBS, instance__isnull=False, card=None)
                | Q(kind__in=CARD_JOBS, instance=None, card__isnull=False),
                name="job_has_the_subject_of_its_kind",
            ),
        ]
        indexes = [
            models.Index(
                fields=["state", "lease_expires_at"],
                name="job_open",
                condition=~Q(state__in=[JobState.SUCCEEDED, JobState.FAILED]),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} #{self.pk}"

    @property
    def for_instance(self) -> Instance:
        """The instance of a job that is about one."""
        assert self.instance is not None  # noqa: S101 -- a constraint of the table
        return self.instance

    @property
    def for_card(self) -> Card:
        """The card of a job that is about one."""
        assert self.card is not None  # noqa: S101 -- a constraint of the table
        return self.card

    @property
    def subject(self) -> Instance | Card:
        """What the job is about; a constraint sees to it that it is one of the two."""
        return self.instance or self.for_card


class JobStep(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    label = models.CharField(max_length=100)
    state = models.CharField(max_length=8, choices=StepState, default=StepState.PENDING)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["job", "position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="job_step_once")
        ]

    def __str__(self) -> str:
        return self.label
