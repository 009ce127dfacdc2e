"""Issue an API token from the admin: its secret is in one response and nowhere else."""

from typing import Any

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from instances import token_scopes, tokens
from instances.models import Account


class IssueTokenForm(BaseDialogForm):
    user = forms.ModelChoiceField(
        get_user_model().objects.none(),
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        help_text=gettext_lazy("A member of the account; the token acts in this name."),
        error_messages={"required": "Make somebody a member of the account first."},
        label=gettext_lazy("User"),
    )
    label = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("What it is for."),
        label=gettext_lazy("Label"),
    )
    scopes = forms.CharField(
        max_length=500,
        initial="*",
        widget=UnfoldAdminTextInputWidget(),
        help_text=gettext_lazy(
            "* for all, or such as linodes:read_write events:read_only."
        ),
        label=gettext_lazy("Scopes"),
    )

    def __init__(self, *args: Any, object_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, object_id=object_id, **kwargs)
        user = self.fields["user"]
        assert isinstance(user, forms.ModelChoiceField)  # noqa: S101
        user.queryset = get_user_model().objects.filter(
            accounts__pk=object_id or 0, is_active=True
        )

    def clean_scopes(self) -> str:
        try:
            return token_scopes.normalised(self.cleaned_data["scopes"])
        except ValueError as error:
            raise forms.ValidationError(
                _(
                    "%(error)s is no scope: write CATEGORY:read_only, "
                    "CATEGORY:read_write or *."
                )
                % {"error": f"{str(error)!r}"}
            ) from error


def issue_and_show(
    request: HttpRequest, form: IssueTokenForm, account: Account
) -> HttpResponse:
    """Issue the token and answer with the dialog that shows it."""
    secret = tokens.new_secret()
    data = form.cleaned_data
    token = tokens.issue(
        account, data["user"], data["label"], secret, scopes=data["scopes"]
    )
    LogEntry.objects.log_actions(
        request.user.pk or 0,
        [account],
        CHANGE,
        change_message=f"Issued the API token {token} for {data['user']}.",
        single_object=True,
    )
    response = render(
        request,
        "admin/instances/account/token_issued.html",
        {"secret": secret, "token": token},
    )
    response["Cache-Control"] = "no-store"
    # In place of the dialog that asked.
    response["HX-Retarget"] = "#modal-content"
    response["HX-Reselect"] = "#dialog"
    response["HX-Reswap"] = "innerHTML"
    return response
