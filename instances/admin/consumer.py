"""From a claim's consumer to the page of the instance that it is."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from instances.models import Instance


def show_consumer(request: HttpRequest, consumer: UUID) -> HttpResponse:
    instance = get_object_or_404(Instance, uuid=consumer)
    return redirect("admin:instances_instance_change", instance.pk)
