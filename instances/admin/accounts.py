"""Staff pages for customers: accounts, their API tokens (never a secret) and SSH keys."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.db import transaction
from django.db.models import Count, Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from instances.admin.account_page import account_page
from instances.admin.issue_token import IssueTokenForm, issue_and_show
from instances.admin.quotas import GpuQuotaInline
from instances.admin.reservations import ReserveForm, reserve_for
from instances.admin.trials import GrantForm, grant_to
from instances.models import Account, ApiChange, ApiToken, SSHKey
from instances.usage import follow_tags
from inventory.admin.dialogs import object_or_404
from inventory.admin.read_only import ReadOnlyAdmin, ReadOnlyInline


class ApiTokenInline(ReadOnlyInline):
    model = ApiToken
    fields = ("label", "prefix", "user", "scopes", "last_used_at", "revoked_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens: QuerySet[ApiToken] = super().get_queryset(request)
        return tokens.select_related("user")


@admin.register(Account)
class AccountAdmin(ModelAdmin):
    list_display = ("name", "email", "tags", "member_count", "created_at")
    search_fields = ("name", "email", "tags")
    search_help_text = _("Name, address or tag")
    fields = ("name", "email", "tags", "members")
    autocomplete_fields = ("members",)
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}
    inlines = (GpuQuotaInline, ApiTokenInline)
    change_form_template = "admin/instances/account/page.html"
    actions = None
    actions_detail = ("launch_for", "reserve", "grant_trial", "issue_token")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.annotate(member_total=Count("members"))

    def save_model(
        self, request: HttpRequest, obj: Account, form: ModelForm, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        # What it runs is marked from now on; the past stays as it was.
        transaction.on_commit(lambda: follow_tags([obj.pk]))

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        # Instances and events keep their account for ever.
        return False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        account = kwargs.get("obj")
        if account is not None:
            context.update(account_page(request, account))
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description=_("members"), ordering="member_total")
    def member_count(self, account: Any) -> int:
        return int(account.member_total)

    def has_reserve_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("instances.add_reservation") and bool(
            object_or_404(self, request, object_id or "")
        )

    @action(
        description=_("Reserve"),
        icon="lock_clock",
        permissions=["reserve"],
        attrs={"aria-label": _("Reserve capacity for this account")},
        dialog={
            "title": _("Reserve capacity"),
            "description": _(
                "Cards, cores and memory are held, and count in the quota."
            ),
            "form_class": ReserveForm,
            "form_submit_text": _("Reserve"),
        },
    )
    def reserve(
        self, request: HttpRequest, form: ReserveForm, object_id: str
    ) -> HttpResponse:
        return reserve_for(request, form, object_or_404(self, request, object_id))

    def has_grant_trial_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("instances.add_trial") and bool(
            object_or_404(self, request, object_id or "")
        )

    @action(
        description=_("Grant a trial"),
        icon="redeem",
        permissions=["grant_trial"],
        attrs={"aria-label": _("Grant this account a trial")},
        dialog={
            "title": _("Grant a trial"),
            "description": _("What is used within it is not billed."),
            "form_class": GrantForm,
            "form_submit_text": _("Grant"),
        },
    )
    def grant_trial(
        self, request: HttpRequest, form: GrantForm, object_id: str
    ) -> HttpResponse:
        return grant_to(request, form, object_or_404(self, request, object_id))

    def has_issue_token_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("instances.add_apitoken") and bool(
            object_or_404(self, request, object_id or "")
        )

    def has_launch_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("instances.add_instance")

    @action(
        description=_("Launch"),
        icon="rocket_launch",
        permissions=["launch"],
        attrs={"aria-label": _("Launch an instance for this account")},
    )
    def launch_for(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(
            f"{reverse('admin:launch')}?{urlencode({'account': object_id})}"
        )

    @action(
        description=_("Issue token"),
        icon="key",
        permissions=["issue_token"],
        attrs={"aria-label": _("Issue an API token")},
        dialog={
            "title": _("Issue an API token"),
            "description": _("Its secret is shown once, on the next page."),
            "form_class": IssueTokenForm,
            "form_submit_text": _("Issue"),
        },
    )
    def issue_token(
        self, request: HttpRequest, form: IssueTokenForm, object_id: str
    ) -> HttpResponse:
        return issue_and_show(request, form, object_or_404(self, request, object_id))


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = (
        "label",
        "prefix",
        "account",
        "user",
        "scopes",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_select_related = ("account", "user")
    search_fields = ("label", "prefix", "account__name", "user__username")
    fields = (
        ("label", "prefix"),
        ("account", "user"),
        "scopes",
        ("created_at", "last_used_at"),
        ("expires_at", "revoked_at"),
    )


@admin.register(ApiChange)
class ApiChangeAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "account",
        "username",
        "token_name",
        "method",
        "path",
        "object_id",
        "status",
    )
    list_select_related = ("account",)
    list_filter = ("method", "status")
    search_fields = ("account__name", "username", "token_name", "path", "object_id")
    fields = (
        "created_at",
        ("account", "username"),
        ("token", "token_name"),
        ("method", "path"),
        ("status", "object_id"),
    )


@admin.register(SSHKey)
class SSHKeyAdmin(ReadOnlyAdmin):
    list_display = ("label", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("label", "user__username")
