"""What employees may try, to join and to leave: the page beside /v4/account/betas.

Its people are members of accounts, not staff: they log in at a page beside it, with the
password that staff gave their user.
"""

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LogoutView
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse_lazy
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache

from flags.betas import enrol, enrolments_of, leave, open_betas_for
from instances.models import Account
from instances.pages.feedback import instances_to_judge
from instances.pages.members import employees_accounts_of


@method_decorator(never_cache, name="dispatch")
class BetasPage(LoginRequiredMixin, View):
    login_url = reverse_lazy("employees-login")

    def get(self, request: HttpRequest) -> HttpResponse:
        accounts = employees_accounts_of(request)
        context = {
            "accounts": [(account, _rows(account)) for account in accounts],
            "instances": instances_to_judge(accounts),
        }
        return render(request, "employees/betas.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Join or leave the beta that is named; another's account is not found."""
        asked = request.POST.get("account", ""), request.POST.get("beta", "")
        accounts = {
            str(account.pk): account for account in employees_accounts_of(request)
        }
        account = accounts.get(asked[0])
        rows = {} if account is None else {b.slug: b for b, _ in _rows(account)}
        beta = rows.get(asked[1])
        if account is None or beta is None:
            raise Http404
        is_joined = "join" in request.POST
        with transaction.atomic():
            if is_joined:
                enrol(account, beta, f"user:{request.user.get_username()}")
            else:
                leave(account, beta)
            LogEntry.objects.log_actions(
                request.user.pk or 0,
                [account],
                CHANGE,
                change_message=f"{'Joined' if is_joined else 'Left'} the beta {beta}.",
                single_object=True,
            )
        return redirect("employees")


def _rows(account: Account) -> list[tuple[Any, bool]]:
    """Return (beta, whether it is joined) of those to join and those to leave; 2 queries."""
    joined = [enrolment.beta for enrolment in enrolments_of(account)]
    others = [beta for beta in open_betas_for(account) if beta not in joined]
    return [*((beta, True) for beta in joined), *((beta, False) for beta in others)]


urlpatterns = [
    path("employees/", BetasPage.as_view(), name="employees"),
    path(
        "employees/logout/",
        LogoutView.as_view(next_page=reverse_lazy("employees-login")),
        name="employees-logout",
    ),
]
