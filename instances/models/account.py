"""Customers: accounts, their members' keys and API tokens."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models

EMPLOYEE_TAG = "employee"


class Account(models.Model):
    """Who pays. Members are Django users; an employee's account carries the tag.

    uuid: what domains know it by. A database that was restored from a backup gives the ids
    of lost accounts to others.
    """

    uuid = models.UUIDField(
        "UUID",
        default=uuid.uuid4,
        db_default=RandomUUID(),
        unique=True,
        editable=False,
    )
    name = models.CharField(max_length=128, unique=True)
    email = models.EmailField()
    tags = ArrayField(
        models.CharField(max_length=50),
        default=list,
        blank=True,
        help_text="employee: may try what is not on sale yet. Separate by commas.",
    )
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="accounts"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_employee(self) -> bool:
        return EMPLOYEE_TAG in self.tags


class SSHKey(models.Model):
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="ssh_keys"
    )
    label = models.CharField(max_length=64)
    ssh_key = models.TextField("public key")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "SSH key"
        constraints = [
            models.UniqueConstraint(fields=["user", "label"], name="ssh_key_label_once")
        ]

    def __str__(self) -> str:
        return self.label


class ApiToken(models.Model):
    """A personal access token; only its digest is kept, so it can be shown just once."""

    account = models.ForeignKey(
        Account, on_delete=models.CASCADE, related_name="tokens"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    label = models.CharField(max_length=100)
    prefix = models.CharField(
        max_length=16, editable=False, help_text="First characters, to recognise it by."
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.CharField(max_length=500, default="*")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.label} ({self.prefix}…)"
