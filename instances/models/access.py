"""Who of staff came in, who was kept out, and what was done to people's access."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class AccessEvent(models.Model):
    """One entry of the access log; failures in it are what logins are throttled by.

    An attempt is written down as failed before it is judged, and corrected if it was right:
    whoever asks many times at once is counted each time.
    """

    class Kind(models.TextChoices):
        WRONG_PASSWORD = "wrong_password", _("wrong name or password")
        WRONG_CODE = "wrong_code", _("wrong code")
        LOCKED_OUT = "locked_out", _("locked out for a while")
        RIGHT_PASSWORD = "right_password", _("right password")
        RIGHT_CODE = "right_code", _("right code")
        RECOVERY_CODE = "recovery_code", _("recovery code used up")
        LOGIN = "login", _("logged in")
        PASSWORD_CHANGED = "password_changed", _("password changed")
        SECOND_FACTOR_SET_UP = "factor_set_up", _("second factor set up")
        RECOVERY_CODES_MADE = "codes_made", _("recovery codes made")
        SECOND_FACTOR_REMOVED = "factor_removed", _("second factor removed")
        SECOND_FACTOR_RESET = "factor_reset", _("second factor reset by another")
        SESSIONS_ENDED = "sessions_ended", _("all sessions ended")

    FAILURES = (Kind.WRONG_PASSWORD, Kind.WRONG_CODE)

    at = models.DateTimeField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="access_events",
    )
    username = models.CharField(
        max_length=150,
        blank=True,
        help_text=(
            "Empty: nobody has the name that was typed, which is not kept: it may be "
            "a password in the wrong field."
        ),
    )
    name_digest = models.CharField(
        max_length=64, editable=False, help_text="Of the name as it was typed."
    )
    address = models.GenericIPAddressField(null=True)
    actor = models.CharField(
        max_length=160, blank=True, help_text="Who did it, if not the person."
    )
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["name_digest", "at"], name="access_by_name"),
            models.Index(fields=["address", "at"], name="access_by_address"),
            models.Index(fields=["user", "kind", "-at"], name="access_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.username or 'nobody'}: {self.get_kind_display()}"
