"""GET /gpucloud/instances/{id}/gpus, /topology and /attestation: a guest's hardware."""

from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import GPU_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.serializers.gpus import attestation_json, gpus_json, topology_json
from instances.api.shapes.gpus import Attestation, Gpu, Topology
from instances.api.views.instances import owned_instance


class GpuListView(Endpoint):
    category = "linodes"

    @operation("List a Linode's GPUs", Gpu, fields=GPU_FIELDS)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return listing_of_objects(request, gpus_json(instance), GPU_FIELDS)


class TopologyView(Endpoint):
    category = "linodes"

    @operation("View a Linode's topology", Topology)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return Response(topology_json(instance))


class AttestationView(Endpoint):
    category = "linodes"

    @operation("View a Linode's attestation", Attestation)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return Response(attestation_json(instance))
