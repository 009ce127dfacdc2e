"""What the pages that change a flag share: for when it is asked, and what became of it."""

from datetime import datetime

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from flags.models import ChangeKind, FlagChange, FlagProposal, ProposalState


class FlagReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=400,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Why it is changed. Kept for ever."),
        label=gettext_lazy("Reason"),
    )


class PlannedForm(FlagReasonForm):
    due_at = forms.SplitDateTimeField(
        required=False,
        label=gettext_lazy("at"),
        widget=UnfoldAdminSplitDateTimeWidget(),
        help_text=gettext_lazy("UTC. Empty: now."),
    )

    def clean_due_at(self) -> datetime | None:
        due_at: datetime | None = self.cleaned_data["due_at"]
        if due_at is not None and due_at <= timezone.now():
            raise forms.ValidationError(_("That is over. Leave it empty for now."))
        return due_at


def outcome(done: FlagChange | FlagProposal) -> str:
    """Return in words what became of a change that was asked for."""
    if isinstance(done, FlagChange):
        return _("%(flag)s is %(kind)s, from %(at)s.") % {
            "flag": done.flag,
            "kind": ChangeKind(done.kind).label,
            "at": f"{done.at:%H:%M:%S}",
        }
    if done.state == ProposalState.WAITING:
        return _("%(flag)s is as it was: a second person must approve the change.") % {
            "flag": done.flag
        }
    return _("%(flag)s will be changed at %(due_at)s UTC.") % {
        "flag": done.flag,
        "due_at": f"{done.due_at:%Y-%m-%d %H:%M:%S}",
    }
