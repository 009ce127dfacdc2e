"""The launch form: every field has a default, and what the action refuses is shown at it."""

import secrets
from collections.abc import Iterable

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from instances.actions.guest_settings import GuestSettings
from instances.actions.launch import LaunchOrder
from instances.launch_choices import (
    LaunchChoices,
    why_not_offered,
    why_not_offered_there,
)
from instances.models import Account

# Names of the action's fields (the API's) where the form has another.
_FIELDS = {"type": "plan"}
# What customers are not told: why that which staff can see is refused.
_WHY_NOT = {"plan": why_not_offered, "region": why_not_offered_there}


class LaunchForm(forms.Form):
    """key makes a double click one instance; choices: what can be chosen, with defaults."""

    plan = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(),
        label=_("Plan"),
    )
    region = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(),
        label=_("Region"),
    )
    account = forms.ModelChoiceField(
        Account.objects.all(),
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        label=_("Account"),
    )
    image = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(),
        label=_("Image"),
    )
    label = forms.CharField(
        required=False,
        max_length=64,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=_(
            "Optional. 3 to 64 letters, digits, - _ or . and one of the account's."
        ),
        label=_("Label"),
    )
    authorized_keys = forms.CharField(
        label=_("SSH keys"),
        required=False,
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text=_(
            "Public keys that may log in as root, one a line. Without one, nobody "
            "can log in to an image with accounts."
        ),
    )
    key = forms.CharField(
        max_length=64, widget=forms.HiddenInput(attrs={"autocomplete": "off"})
    )

    def __init__(
        self, choices: LaunchChoices, data: dict[str, str] | None = None
    ) -> None:
        super().__init__(data)
        self.choices = choices
        self._offer("plan", [(c.plan.slug, str(c)) for c in choices.plans])
        self._offer("region", [(r.slug, str(r)) for r in choices.regions])
        self._offer("image", [(i.slug, i.label) for i in choices.images])
        account = self.fields["account"]
        assert isinstance(account, forms.ModelChoiceField)  # noqa: S101
        account.choices = [(a.pk, _account_text(a)) for a in choices.accounts]
        if choices.has_more_accounts:
            account.help_text = _(
                "For one that is not listed, launch from its own page."
            )
        self.initial = {
            "plan": choices.plan.slug if choices.plan else "",
            "region": choices.region.slug if choices.region else "",
            "account": choices.account.pk if choices.account else "",
            "image": choices.image.slug if choices.image else "",
            "key": new_key(),
        }

    def _offer(self, name: str, options: Iterable[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.choices = list(options)

    def order(self, username: str) -> LaunchOrder:
        data = self.cleaned_data
        return LaunchOrder(
            account=data["account"],
            plan=data["plan"],
            region=data["region"],
            image=data["image"],
            label=data["label"],
            actor=f"user:{username}",
            username=username,
            idempotency_key=f"admin:{data['key']}",
            settings=GuestSettings(
                keys=tuple(
                    line.strip()
                    for line in data["authorized_keys"].splitlines()
                    if line.strip()
                )
            ),
        )

    def show_refusals(self, errors: Iterable[tuple[str | None, str]]) -> None:
        """Put the action's errors at their fields; staff are told why one is refused."""
        for field, reason in errors:
            name = _FIELDS.get(field or "", field or "")
            if why_not := _WHY_NOT.get(name):
                why = why_not(self.data[name], self.cleaned_data["account"])
                self.add_error(name, why or reason)
            elif name in self.fields:
                self.add_error(name, reason)
            else:
                self.add_error(None, reason)

    def renew_key(self) -> None:
        """Let the next attempt be another launch."""
        self.data = {**self.data, "key": new_key()}


def new_key() -> str:
    return secrets.token_hex(16)


def _account_text(account: Account) -> str:
    if account.is_employee:
        return _("%(account)s (employee)") % {"account": account}
    return account.name
