"""From a claim's consumer to the page of the instance or reservation that it is."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from instances.models import Instance, Reservation


def show_consumer(request: HttpRequest, consumer: UUID) -> HttpResponse:
    instance = Instance.objects.filter(uuid=consumer).first()
    if instance is not None:
        return redirect("admin:instances_instance_change", instance.pk)
    reservation = get_object_or_404(Reservation, uuid=consumer)
    return redirect("admin:instances_reservation_change", reservation.pk)
