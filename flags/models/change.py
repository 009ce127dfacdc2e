"""Who changed a flag when and why; and what is to be changed, once it is due or approved."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from flags.models.flag import Flag


class ChangeKind(models.TextChoices):
    CREATED = "created", _("created")
    CHANGED = "changed", _("changed")
    KILLED = "killed", _("killed")
    TAKEN_BACK = "taken_back", _("kill taken back")


class ProposalState(models.TextChoices):
    WAITING = "waiting", _("waits for a second person")
    SCHEDULED = "scheduled", _("scheduled")
    APPLIED = "applied", _("applied")
    CANCELLED = "cancelled", _("cancelled")
    OUTDATED = "outdated", _("outdated")


OPEN_STATES = (ProposalState.WAITING, ProposalState.SCHEDULED)
# Of changes: those that opened their flag for everyone.
OPENED = Q(kind=ChangeKind.CHANGED, after__everyone=True) & ~Q(before__everyone=True)


class FlagChange(models.Model):
    """One change. before, after: the flag's state, as changes.state_of() gives it.

    at: no claim that the flag lets through before and not after is later. Rows are only
    added (migration flag_changes).
    """

    flag = models.ForeignKey(Flag, on_delete=models.PROTECT, related_name="changes")
    kind = models.CharField(max_length=10, choices=ChangeKind)
    at = models.DateTimeField(db_index=True)
    by = models.CharField(max_length=150, help_text="user:NAME")
    approved_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=400)
    before = models.JSONField()
    after = models.JSONField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(reason=""), name="flag_change_has_a_reason"
            ),
            models.CheckConstraint(
                condition=~Q(approved_by=F("by")), name="flag_change_by_two_if_approved"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flag} {self.get_kind_display()}"


class FlagProposal(models.Model):
    """A change that is yet to be made: at its time, or when a second person approves it.

    changes: field -> value to be. base: what they were when it was proposed; once they are
    something else it is outdated, for whoever proposed it had other values before them.
    """

    flag = models.ForeignKey(Flag, on_delete=models.PROTECT, related_name="proposals")
    kind = models.CharField(max_length=10, choices=ChangeKind)
    changes = models.JSONField()
    base = models.JSONField()
    reason = models.CharField(max_length=400)
    proposed_by = models.CharField(max_length=150, help_text="user:NAME")
    proposed_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(
        "due", null=True, help_text="None: as soon as it is approved."
    )
    needs_two = models.BooleanField(
        "needs two persons", help_text="By the setting when it was proposed."
    )
    approved_by = models.CharField(max_length=150, blank=True)
    state = models.CharField(max_length=9, choices=ProposalState)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)
    change = models.OneToOneField(
        FlagChange, null=True, on_delete=models.PROTECT, related_name="proposal"
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(reason=""), name="flag_proposal_has_a_reason"
            ),
            models.CheckConstraint(
                condition=~Q(approved_by=F("proposed_by")),
                name="flag_proposal_approved_by_another",
            ),
            models.CheckConstraint(
                condition=Q(needs_two=False)
                | ~Q(approved_by="")
                | ~Q(state__in=(ProposalState.SCHEDULED, ProposalState.APPLIED)),
                name="flag_proposal_approved_before_it_counts",
            ),
            models.CheckConstraint(
                condition=~Q(state=ProposalState.SCHEDULED) | Q(due_at__isnull=False),
                name="flag_proposal_scheduled_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state=ProposalState.APPLIED, change__isnull=False)
                | (~Q(state=ProposalState.APPLIED) & Q(change=None)),
                name="flag_proposal_applied_iff_changed",
            ),
            models.CheckConstraint(
                condition=Q(state__in=OPEN_STATES, ended_at=None)
                | (~Q(state__in=OPEN_STATES) & Q(ended_at__isnull=False)),
                name="flag_proposal_ended_iff_over",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(state=ProposalState.SCHEDULED),
                name="flag_proposals_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.flag}: {self.reason}"
