"""What the pages that change a flag share: for when it is asked, and what became of it."""

from datetime import datetime

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from flags.models import ChangeKind, FlagChange, FlagProposal, ProposalState


class FlagReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=400,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Why it is changed. Kept for ever.",
    )


class PlannedForm(FlagReasonForm):
    due_at = forms.SplitDateTimeField(
        required=False,
        label="at",
        widget=UnfoldAdminSplitDateTimeWidget(),
        help_text="UTC. Empty: now.",
    )

    def clean_due_at(self) -> datetime | None:
        due_at: datetime | None = self.cleaned_data["due_at"]
        if due_at is not None and due_at <= timezone.now():
            raise forms.ValidationError("That is over. Leave it empty for now.")
        return due_at


def outcome(done: FlagChange | FlagProposal) -> str:
    """Return in words what became of a change that was asked for."""
    if isinstance(done, FlagChange):
        return f"{done.flag} is {ChangeKind(done.kind).label}, from {done.at:%H:%M:%S}."
    if done.state == ProposalState.WAITING:
        return f"{done.flag} is as it was: a second person must approve the change."
    return f"{done.flag} will be changed at {done.due_at:%Y-%m-%d %H:%M:%S} UTC."
