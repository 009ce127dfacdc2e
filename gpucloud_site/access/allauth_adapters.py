"""What django-allauth asks of us: nobody signs up, factors are sealed, logins are logged."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from gpucloud_site.access.log import Kind, record
from instances.sealing import resealed, seal, unseal

_PURPOSE = "second factors"


class StaffAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def send_mail(self, *_: Any, **__: Any) -> None:
        """Send none: staff are told by the access log."""

    def post_login(
        self, request: HttpRequest, user: User, *, redirect_url: str | None, **_: Any
    ) -> HttpResponseRedirect:
        """Log it, and go where the person wanted to; every stage of the login is done."""
        record(Kind.LOGIN, user, request)
        return HttpResponseRedirect(redirect_url or reverse("admin:index"))


class SealedFactors(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return seal(text.encode(), _PURPOSE).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the secret. Raises SecretLost."""
        return unseal(encrypted_text.encode(), _PURPOSE).decode()

    def resealed(self, encrypted_text: str) -> str:
        """Return it under the SECRET_KEY of now. Raises SecretLost."""
        return resealed(encrypted_text.encode(), _PURPOSE).decode()

    def get_totp_label(self, user: User) -> str:
        return user.get_username()
