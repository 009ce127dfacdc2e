"""GET /networking/ips and .../ips of a Linode: the IPv4 addresses that are the account's."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.serializers.addresses import addresses_json, ipv4_json
from instances.api.shapes.addresses import IPv4Address, LinodeAddresses
from instances.api.views.instances import owned_instance
from instances.models import Account
from instances.selectors import instances_of
from inventory.address_claims import open_address_of, open_addresses_of


def _addresses_of(account: Account) -> list[IPv4Address]:
    """Return what the account's Linodes hold, oldest Linode first; two queries."""
    instances = {instance.uuid: instance for instance in instances_of(account)}
    held = open_addresses_of(instances)
    return [
        ipv4_json(held[uuid], instances[uuid]) for uuid in instances if uuid in held
    ]


class AddressListView(Endpoint):
    category = "ips"

    @operation("List IP addresses", IPv4Address, fields={})
    def get(self, request: Request) -> Response:
        return listing_of_objects(request, _addresses_of(self.account), {})


class AddressView(Endpoint):
    category = "ips"

    @operation("View an IP address", IPv4Address)
    def get(self, request: Request, address: str) -> Response:
        for held in _addresses_of(self.account):
            if held["address"] == address:
                return Response(held)
        raise Http404


class InstanceAddressesView(Endpoint):
    category = "linodes"

    @operation("View addresses of a Linode", LinodeAddresses)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        return Response(addresses_json(instance, open_address_of(instance.uuid)))


class InstanceAddressView(Endpoint):
    category = "linodes"

    @operation("View an address of a Linode", IPv4Address)
    def get(self, request: Request, instance_id: int, address: str) -> Response:
        instance = owned_instance(self.account, instance_id)
        held = open_address_of(instance.uuid)
        if held is None or held.address != address:
            raise Http404
        return Response(ipv4_json(held, instance))
