"""POST .../boot, reboot, shutdown, rebuild, password; GET .../disks, configs of a Linode."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions import power
from instances.actions.password import reset_password
from instances.actions.rebuild import rebuild
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import CONFIG_FIELDS, DISK_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.rebuild_request import (
    password_hash_from,
    rebuild_order_from,
    refuse_config,
)
from instances.api.serializers.instances import disk_json, instance_json
from instances.api.shapes import instances as shapes
from instances.api.views.instances import owned_instance


class BootView(Endpoint):
    category = "linodes"

    @operation("Boot a Linode", takes=shapes.LinodeBoot)
    def post(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        refuse_config(body_object(request))
        power.boot(instance, self.actor, self.username)
        return Response({})


class RebootView(Endpoint):
    category = "linodes"

    @operation("Reboot a Linode", takes=shapes.LinodeBoot)
    def post(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        refuse_config(body_object(request))
        power.reboot(instance, self.actor, self.username)
        return Response({})


class ShutdownView(Endpoint):
    category = "linodes"

    @operation("Shut down a Linode")
    def post(self, request: Request, instance_id: int) -> Response:
        """A stopped Linode keeps its cards, cores, disk and address until its delete."""
        instance = owned_instance(self.account, instance_id)
        power.shut_down(instance, self.actor, self.username)
        return Response({})


class RebuildView(Endpoint):
    category = "linodes"

    @operation("Rebuild a Linode", shapes.Linode, takes=shapes.LinodeRebuild)
    def post(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        order = rebuild_order_from(body_object(request), instance)
        rebuild(instance, order, self.actor, self.username)
        return Response(instance_json(owned_instance(self.account, instance_id)))


class PasswordView(Endpoint):
    category = "linodes"

    @operation("Reset the root password", takes=shapes.LinodePassword)
    def post(self, request: Request, instance_id: int) -> Response:
        """Only while the Linode is offline; its guest takes it at the next boot."""
        instance = owned_instance(self.account, instance_id)
        hashed = password_hash_from(body_object(request))
        reset_password(instance, hashed, self.actor, self.username)
        return Response({})


class _DisksOfALinode(Endpoint):
    category = "linodes"

    def disks(self, instance_id: int) -> list[shapes.Disk]:
        instance = owned_instance(self.account, instance_id)
        return [disk_json(instance)] if instance.image.is_disk else []


class DiskListView(_DisksOfALinode):
    @operation("List disks of a Linode", shapes.Disk, fields=DISK_FIELDS)
    def get(self, request: Request, instance_id: int) -> Response:
        return listing_of_objects(request, self.disks(instance_id), DISK_FIELDS)


class DiskView(_DisksOfALinode):
    @operation("View a disk of a Linode", shapes.Disk)
    def get(self, request: Request, instance_id: int, disk_id: int) -> Response:
        for disk in self.disks(instance_id):
            if disk["id"] == disk_id:
                return Response(disk)
        raise Http404


class ConfigListView(Endpoint):
    category = "linodes"

    @operation("List configurations of a Linode", shapes.Config, fields=CONFIG_FIELDS)
    def get(self, request: Request, instance_id: int) -> Response:
        owned_instance(self.account, instance_id)
        return listing_of_objects(request, [], CONFIG_FIELDS)
