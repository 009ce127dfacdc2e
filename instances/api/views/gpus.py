"""What hardware a guest has, what was done to it before, and that a GPU of it is bad.

GET /gpucloud/instances/{id}/gpus, /topology and /attestation; POST .../gpu-report.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.report_gpu import NOT_ITS_GPU, report_gpu
from instances.api import wire
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import GPU_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.sale_request import unknown_problems
from instances.api.serializers.gpus import (
    attestation_json,
    gpus_json,
    report_json,
    topology_json,
)
from instances.api.shapes import gpus as shapes
from instances.api.views.instances import owned_instance
from instances.exceptions import InvalidRequest
from instances.free_text import is_free_text
from inventory.choices import ReportedProblem
from inventory.ledger import open_card_claims

LONGEST_TEXT = 1000


class GpuListView(Endpoint):
    category = "linodes"

    @operation("List a Linode's GPUs", shapes.Gpu, fields=GPU_FIELDS)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return listing_of_objects(request, gpus_json(instance), GPU_FIELDS)


class TopologyView(Endpoint):
    category = "linodes"

    @operation("View a Linode's topology", shapes.Topology)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return Response(topology_json(instance))


class AttestationView(Endpoint):
    category = "linodes"

    @operation("View a Linode's attestation", shapes.Attestation)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return Response(attestation_json(instance))


class GpuReportView(Endpoint):
    category = "linodes"

    @operation("Report a GPU", shapes.GpuReport, takes=shapes.GpuReportCreate)
    def post(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        body = body_object(request)
        cards = {
            wire.gpu_id_of(claim.card, self.account): claim.card_id
            for claim in open_card_claims(instance.uuid)
            # Those that a resize has claimed are not the guest's yet.
            if claim.claim_set == instance.claim_set
        }
        card_id = _card_in(body, cards)
        problems = _report_problems(body)
        if card_id is None:
            problems.insert(0, ("gpu", NOT_ITS_GPU))
        if card_id is None or problems:
            raise InvalidRequest([*problems])
        report = report_gpu(
            instance,
            card_id,
            ReportedProblem(body["problem"]),
            body["text"],
            self.username,
        )
        return Response(report_json(report, instance))


def _card_in(body: Mapping[str, Any], cards: Mapping[str, int]) -> int | None:
    """cards: by their ids for the account. A Linode's only GPU need not be named."""
    named = body.get("gpu")
    if named is None:
        return next(iter(cards.values())) if len(cards) == 1 else None
    return cards.get(named) if isinstance(named, str) else None


def _report_problems(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    problems = []
    if body.get("problem") not in ReportedProblem.values:
        known = ", ".join(ReportedProblem.values)
        problems.append(("problem", f"problem must be one of {known}"))
    text = body.get("text")
    if not isinstance(text, str) or not _is_report(text):
        reason = f"text must be 1 to {LONGEST_TEXT} printable characters or line breaks"
        problems.append(("text", reason))
    return problems + unknown_problems(body, ("gpu", "problem", "text"))


def _is_report(text: str) -> bool:
    return bool(text.strip()) and is_free_text(text, LONGEST_TEXT)
