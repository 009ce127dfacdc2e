"""The form that asks for a code of the second factor: at the login, and before changes."""

from typing import Any

from allauth.core import context
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.models import Authenticator
from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from gpucloud_site.access import attempts
from gpucloud_site.access.factors import use_once
from gpucloud_site.access.log import Kind
from instances.sealing import SecretLost


class CodeField(forms.CharField):
    def __init__(self, **options: Any) -> None:
        shown = {
            "autocomplete": "one-time-code",
            "inputmode": "numeric",
            "autofocus": "",
        }
        super().__init__(
            label=_("Code"),
            max_length=20,
            widget=UnfoldAdminTextInputWidget(attrs=shown),
            **options,
        )

    def to_python(self, value: Any) -> str:
        """Return the digits without the spaces that apps show between them."""
        return "".join(str(super().to_python(value)).split())


class CodeForm(AuthenticateForm):
    """Asks for the app's code or a recovery code; what is wrong counts as a failed login."""

    code = CodeField(
        help_text=_(
            "Six digits from your authenticator app, or one of your recovery codes."
        )
    )

    def clean_code(self) -> str:
        attempt = attempts.begin(
            Kind.WRONG_CODE, self.user.get_username(), context.request
        )
        try:
            code: str = super().clean_code()
        except SecretLost as error:
            raise forms.ValidationError(
                _("Your second factor can be read no more. Have an admin reset it.")
            ) from error
        if self.authenticator.type == Authenticator.Type.RECOVERY_CODES:
            attempts.settle(attempt, Kind.RECOVERY_CODE)
        elif use_once(self.authenticator, code):
            attempts.settle(attempt, Kind.RIGHT_CODE)
        else:
            raise get_adapter().validation_error("incorrect_code")
        return code
