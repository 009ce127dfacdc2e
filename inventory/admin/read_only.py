"""Pages and tables for rows that people may read and only code may write."""

from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline


class _ReadOnly:
    """What staff do to such rows are actions with a name, never an edited field."""

    def has_add_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False


class ReadOnlyAdmin(_ReadOnly, ModelAdmin):
    actions = None
    show_full_result_count = False


class ReadOnlyInline(_ReadOnly, TabularInline):
    extra = 0
    hide_title = True
