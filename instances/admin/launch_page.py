"""The page on which staff launch an instance with one click."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from instances.actions.launch import launch
from instances.admin.launch_form import LaunchForm
from instances.exceptions import IdempotencyConflict, InvalidRequest, NoCapacity
from instances.foresight import foresee
from instances.launch_choices import LaunchChoices, launch_choices
from instances.models import Instance
from instances.placement import NoFit
from instances.remedies import remedy_for
from instances.selectors import request_of


def launch_page(request: HttpRequest) -> HttpResponse:
    """Show the form; on POST launch, once however often the form is sent."""
    if not request.user.has_perm("instances.add_instance"):
        raise PermissionDenied
    chosen = request.POST if request.method == "POST" else request.GET
    choices = launch_choices(
        chosen.get("region", ""), chosen.get("plan", ""), chosen.get("account", "")
    )
    if request.method != "POST":
        return _show(request, LaunchForm(choices), choices)
    form = LaunchForm(choices, request.POST.dict())
    no_fit: NoFit | None = None
    if form.is_valid():
        try:
            instance = launch(form.order(request.user.get_username()))
        except InvalidRequest as error:
            form.show_refusals(error.errors)
        except NoCapacity as error:
            no_fit = error.no_fit
            form.show_refusals([(error.field, error.public_message)])
        except IdempotencyConflict:
            form.renew_key()
            form.add_error(
                None,
                _(
                    "This form launched an instance already. Press Launch again for another."
                ),
            )
        else:
            return _go_to(request, instance)
    return _show(request, form, choices, no_fit)


def _go_to(request: HttpRequest, instance: Instance) -> HttpResponse:
    messages.success(
        request,
        _("%(instance)s is being launched for %(account)s.")
        % {"instance": instance, "account": instance.account},
    )
    return redirect("admin:instances_instance_change", instance.pk)


def _remedy(choices: LaunchChoices) -> str:
    if choices.plan is None or choices.region is None:
        return ""
    return remedy_for(request_of(choices.plan), choices.region)


def _show(
    request: HttpRequest,
    form: LaunchForm,
    choices: LaunchChoices,
    no_fit: NoFit | None = None,
) -> HttpResponse:
    foresight = None
    if choices.plan is not None and choices.region is not None:
        plans = [choice.plan for choice in choices.plans]
        foresight = foresee(choices.plan, choices.region, plans)
    context = {
        **admin.site.each_context(request),
        "title": _("Launch an instance"),
        "form": form,
        "choices": choices,
        "foresight": foresight,
        "rows": [
            (
                choice,
                choice.fits - foresight.less[choice.plan.slug] if foresight else None,
            )
            for choice in choices.plans
        ],
        "no_fit": no_fit,
        "remedy": _remedy(choices) if no_fit else "",
    }
    return TemplateResponse(request, "admin/launch.html", context)
