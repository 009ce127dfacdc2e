"""/networking/firewalls, and the firewalls of a Linode: rules, and who is held to them."""

from http import HTTPStatus

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions import firewalls as actions
from instances.actions.caller import Caller
from instances.api.changes import changes_in
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import FIREWALL_DEVICE_FIELDS, FIREWALL_FIELDS
from instances.api.firewall_request import (
    create_from,
    device_from,
    rules_from,
    status_problem,
    tags_problem,
)
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object, label_problem
from instances.api.serializers.firewalls import (
    device_json,
    firewall_json,
    rules_json,
    settings_json,
)
from instances.api.shapes import firewalls as shapes
from instances.api.views.instances import owned_instance
from instances.choices import FirewallStatus
from instances.models import Firewall, FirewallDevice
from instances.selectors import firewalls_of


class _FirewallEndpoint(Endpoint):
    category = "firewall"

    @property
    def caller(self) -> Caller:
        return Caller(self.account, self.username)

    def owned(self, firewall_id: int) -> Firewall:
        """Return the account's firewall; another's is Http404."""
        firewall = firewalls_of(self.account).filter(pk=firewall_id).first()
        if firewall is None:
            raise Http404
        return firewall


class FirewallListView(_FirewallEndpoint):
    @operation("List firewalls", shapes.Firewall, fields=FIREWALL_FIELDS)
    def get(self, request: Request) -> Response:
        rows = firewalls_of(self.account)
        return listing(request, rows, FIREWALL_FIELDS, firewall_json)

    @operation("Create a firewall", shapes.Firewall, takes=shapes.FirewallCreate)
    def post(self, request: Request) -> Response:
        made = actions.create(self.caller, **create_from(body_object(request)))
        return Response(firewall_json(self.owned(made.pk)))


class FirewallView(_FirewallEndpoint):
    @operation("View a firewall", shapes.Firewall)
    def get(self, request: Request, firewall_id: int) -> Response:
        return Response(firewall_json(self.owned(firewall_id)))

    @operation("Update a firewall", shapes.Firewall, takes=shapes.FirewallUpdate)
    def put(self, request: Request, firewall_id: int) -> Response:
        firewall = self.owned(firewall_id)
        changes = changes_in(
            body_object(request),
            firewall_json(firewall),
            {
                "label": label_problem,
                "status": status_problem,
                "tags": tags_problem,
            },
        )
        if "status" in changes:
            changes["status"] = FirewallStatus(changes["status"])
        if changes:
            actions.update(self.caller, firewall, **changes)
        return Response(firewall_json(self.owned(firewall_id)))

    @operation("Delete a firewall")
    def delete(self, request: Request, firewall_id: int) -> Response:
        actions.delete(self.caller, self.owned(firewall_id))
        return Response({})


class FirewallRulesView(_FirewallEndpoint):
    @operation("View a firewall's rules", shapes.FirewallRules)
    def get(self, request: Request, firewall_id: int) -> Response:
        return Response(rules_json(self.owned(firewall_id)))

    @operation(
        "Update a firewall's rules",
        shapes.FirewallRules,
        takes=shapes.FirewallRulesUpdate,
    )
    def put(self, request: Request, firewall_id: int) -> Response:
        firewall = self.owned(firewall_id)
        rules = rules_from(body_object(request), firewall.rules)
        actions.update_rules(self.caller, firewall, rules)
        return Response(rules_json(self.owned(firewall_id)))


class FirewallDeviceListView(_FirewallEndpoint):
    @operation(
        "List what is on a firewall",
        shapes.FirewallDevice,
        fields=FIREWALL_DEVICE_FIELDS,
    )
    def get(self, request: Request, firewall_id: int) -> Response:
        rows = FirewallDevice.objects.filter(firewall=self.owned(firewall_id))
        return listing(
            request,
            rows.select_related("instance").order_by("pk"),
            FIREWALL_DEVICE_FIELDS,
            device_json,
        )

    @operation(
        "Put a Linode on a firewall",
        shapes.FirewallDevice,
        takes=shapes.FirewallDeviceCreate,
    )
    def post(self, request: Request, firewall_id: int) -> Response:
        firewall = self.owned(firewall_id)
        linode_id = device_from(body_object(request))
        return Response(device_json(actions.attach(self.caller, firewall, linode_id)))


class FirewallDeviceView(_FirewallEndpoint):
    def _owned_device(self, firewall_id: int, device_id: int) -> FirewallDevice:
        rows = FirewallDevice.objects.select_related("firewall", "instance")
        device = rows.filter(
            pk=device_id, firewall=firewall_id, firewall__account=self.account
        ).first()
        if device is None:
            raise Http404
        return device

    @operation("View what is on a firewall", shapes.FirewallDevice)
    def get(self, request: Request, firewall_id: int, device_id: int) -> Response:
        return Response(device_json(self._owned_device(firewall_id, device_id)))

    @operation("Take a Linode off a firewall")
    def delete(self, request: Request, firewall_id: int, device_id: int) -> Response:
        actions.detach(self.caller, self._owned_device(firewall_id, device_id))
        return Response({})


class FirewallSettingsView(_FirewallEndpoint):
    @operation("View the default firewalls", shapes.FirewallSettings)
    def get(self, request: Request) -> Response:
        return Response(settings_json())


class InstanceFirewallListView(_FirewallEndpoint):
    category = "linodes"

    @operation("List firewalls of a Linode", shapes.Firewall, fields=FIREWALL_FIELDS)
    def get(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        rows = firewalls_of(self.account).filter(devices__instance=instance)
        return listing(request, rows, FIREWALL_FIELDS, firewall_json)


class InstanceFirewallApplyView(_FirewallEndpoint):
    category = "linodes"

    @operation("Apply firewalls to a Linode again", refuses=(HTTPStatus.BAD_REQUEST,))
    def post(self, request: Request, instance_id: int) -> Response:
        actions.apply_again(self.caller, owned_instance(self.account, instance_id))
        return Response({})
