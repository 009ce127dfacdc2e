"""What an account used an instance for, and whether it was any good; kept for ever."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from instances.choices import Workload
from instances.models.instance import Instance

LONGEST_TEXT = 1000


class InstanceFeedback(models.Model):
    """One an instance, of its whole life: it stays when the instance has ended."""

    instance = models.OneToOneField(
        Instance, on_delete=models.PROTECT, related_name="feedback"
    )
    workload = models.CharField(_("workload"), max_length=16, choices=Workload)
    text = models.CharField(
        _("in their words"), max_length=LONGEST_TEXT, blank=True, default=""
    )
    would_use_again = models.BooleanField(_("would use it again"), null=True)
    written_by = models.CharField(max_length=150, help_text="user:NAME")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        ordering = ["-updated_at", "-id"]
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        constraints = [
            models.CheckConstraint(
                condition=Q(workload__in=Workload.values),
                name="feedback_workload_is_known",
            )
        ]

    def __str__(self) -> str:
        return f"Feedback on {self.instance}"
