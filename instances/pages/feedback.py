"""What employees say of their machines: a form beside the page of betas."""

from typing import Any

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse_lazy
from django.utils.translation import gettext_lazy as _
from django.views import View

from instances.actions.feedback import give_feedback
from instances.choices import Workload
from instances.exceptions import InvalidRequest
from instances.models import Account, Instance
from instances.models.feedback import LONGEST_TEXT
from instances.pages.members import employees_accounts_of

_SHOWN = 50


class FeedbackForm(forms.Form):
    workload = forms.ChoiceField(label=_("What is it used for?"), choices=Workload)
    would_use_again = forms.NullBooleanField(
        label=_("Would you use it again?"), required=False
    )
    text = forms.CharField(
        label=_("In your own words"),
        required=False,
        max_length=LONGEST_TEXT,
        widget=forms.Textarea(attrs={"rows": 5}),
    )


class FeedbackPage(LoginRequiredMixin, View):
    login_url = reverse_lazy("employees-login")

    def get(self, request: HttpRequest, instance_id: int) -> HttpResponse:
        instance = _found(request, instance_id)
        said = getattr(instance, "feedback", None)
        return _form_page(request, instance, FeedbackForm(initial=_initial(said)))

    def post(self, request: HttpRequest, instance_id: int) -> HttpResponse:
        """Keep what is said; another account's instance is not found."""
        instance = _found(request, instance_id)
        form = FeedbackForm(request.POST)
        if not form.is_valid():
            return _form_page(request, instance, form)
        name = request.user.get_username()
        try:
            with transaction.atomic():
                row = give_feedback(instance, form.cleaned_data, f"user:{name}")
                LogEntry.objects.log_actions(
                    request.user.pk or 0,
                    [instance],
                    CHANGE,
                    change_message=f"Gave feedback: {row.get_workload_display()}.",
                    single_object=True,
                )
        except InvalidRequest as error:
            for field, reason in error.errors:
                form.add_error(field, reason)
            return _form_page(request, instance, form)
        return redirect("employees")


def _initial(said: Any) -> dict[str, Any]:
    return {f: getattr(said, f) for f in FeedbackForm.base_fields} if said else {}


def _form_page(
    request: HttpRequest, instance: Instance, form: FeedbackForm
) -> HttpResponse:
    context = {"instance": instance, "form": form}
    return render(request, "employees/feedback.html", context)


def instances_to_judge(accounts: list[Account]) -> list[Instance]:
    """Return the newest machines of the accounts, ended ones too; one query."""
    rows = Instance.objects.filter(account__in=accounts).order_by("-pk")
    return list(rows.select_related("account", "plan", "feedback")[:_SHOWN])


def _found(request: HttpRequest, instance_id: int) -> Instance:
    rows = Instance.objects.filter(account__in=employees_accounts_of(request))
    instance = rows.select_related("plan", "feedback").filter(pk=instance_id).first()
    if instance is None:
        raise Http404
    return instance


urlpatterns = [
    path(
        "employees/instances/<int:instance_id>/feedback/",
        FeedbackPage.as_view(),
        name="employees-feedback",
    ),
]
