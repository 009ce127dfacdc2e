"""A tag that an account made, so that it exists while nothing carries it."""

from django.db import models

from instances.models.account import Account


class Tag(models.Model):
    """Who carries it is in the instances' own rows."""

    account = models.ForeignKey(
        Account, on_delete=models.CASCADE, related_name="made_tags"
    )
    label = models.CharField(max_length=50)

    class Meta:
        ordering = ["label"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "label"], name="tag_once_per_account"
            )
        ]

    def __str__(self) -> str:
        return self.label
