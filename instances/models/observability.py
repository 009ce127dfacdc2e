"""What is counted for ever although its rows are not kept, and who gave a sign of life."""

from django.db import models

from instances.choices import JobKind


class WorkDuration(models.Model):
    """How often jobs of a kind, or a step of theirs, took up to so many seconds.

    Only ever grows, which makes it a counter for Prometheus: jobs are deleted after a
    while, and what is counted from their rows would fall then. Written in the transaction
    that ends the step or the job.

    step: empty of the whole job, from when it was asked for. outcome: StepState or
    JobState. upto_s: the smallest bound of instances.durations.BOUNDS_S that it met.
    seconds: their sum.
    """

    kind = models.CharField(max_length=12, choices=JobKind)
    step = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=10)
    upto_s = models.FloatField()
    observed = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0)

    class Meta:
        ordering = ["kind", "step", "outcome", "upto_s"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "step", "outcome", "upto_s"], name="work_duration_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.step}: up to {self.upto_s:g} s"


class Heartbeat(models.Model):
    """When a part of the installation last did its work, wherever that runs.

    part: such as "workers". by: the process that did, as job leases name it.
    """

    part = models.SlugField(primary_key=True, max_length=30)
    at = models.DateTimeField()
    by = models.CharField(max_length=150)

    class Meta:
        ordering = ["part"]

    def __str__(self) -> str:
        return f"{self.part} at {self.at:%Y-%m-%d %H:%M:%S}"
