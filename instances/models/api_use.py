"""How the API is used: the trail of changes, and each token's requests of the moment."""

from django.db import models

from instances.models.account import Account, ApiToken


class ApiChange(models.Model):
    """One request that may have changed something: who, with which token, what, when.

    It is written before the request is worked on: without a status, it was cut off.
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="api_changes"
    )
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL)
    token_name = models.CharField(
        max_length=120, help_text="Label and first characters, kept for ever."
    )
    username = models.CharField(max_length=150)
    method = models.CharField(max_length=7)
    path = models.CharField(max_length=300)
    object_id = models.CharField(
        max_length=100, blank=True, help_text="Of what the request made."
    )
    status = models.PositiveSmallIntegerField(
        null=True, help_text="HTTP status of the answer; empty: cut off, or an error."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "API change"
        indexes = [
            models.Index(fields=["account", "-id"], name="api_change_by_account")
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class TokenRate(models.Model):
    """How many requests a token made in its latest window; one row a token.

    The table is unlogged: nothing is lost if a crash empties it, and a request that
    counts waits for no disk.
    """

    token = models.OneToOneField(ApiToken, primary_key=True, on_delete=models.CASCADE)
    window = models.BigIntegerField(help_text="Begin, seconds since 1970.")
    requests = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.requests} since {self.window}"
