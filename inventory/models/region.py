"""A place where hosts stand."""

from django.db import models


class Region(models.Model):
    slug = models.SlugField(unique=True, help_text="As customers write it: us-east.")
    label = models.CharField(max_length=100, help_text="As people read it: Newark, NJ.")
    country = models.CharField(
        max_length=2, help_text="ISO 3166-1 alpha-2, lower case."
    )
    is_open = models.BooleanField(
        default=True, help_text="Customers see the region and can launch in it."
    )
    flag_name = models.CharField(
        "feature flag",
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Known only where this flag is open. Empty: no gate.",
    )

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return f"{self.label} ({self.slug})"
