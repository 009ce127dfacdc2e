"""GET /gpucloud/trials: what the account may use without paying, and what it could."""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import TRIAL_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.serializers.trials import trial_json
from instances.api.shapes import trials as shapes
from instances.models import Trial
from inventory.ledger import clock


class _TrialEndpoint(Endpoint):
    category = "account"

    def trials(self) -> QuerySet[Trial]:
        rows = Trial.objects.filter(account=self.account)
        return rows.prefetch_related("plans").order_by("pk")


class TrialListView(_TrialEndpoint):
    @operation("List trials", shapes.Trial, fields=TRIAL_FIELDS)
    def get(self, request: Request) -> Response:
        now = clock()
        return listing(
            request, self.trials(), TRIAL_FIELDS, lambda row: trial_json(row, now)
        )


class TrialView(_TrialEndpoint):
    @operation("View a trial", shapes.Trial)
    def get(self, request: Request, trial_id: int) -> Response:
        trial = self.trials().filter(pk=trial_id).first()
        if trial is None:
            raise Http404
        return Response(trial_json(trial, clock()))
