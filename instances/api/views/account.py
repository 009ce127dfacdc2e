"""GET and PUT /account, and what else is said of the account as a whole."""

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.changes import changes_in
from instances.api.emails import email_problem
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import (
    ACCOUNT_AVAILABILITY_FIELDS,
    MAINTENANCE_FIELDS,
    NOTIFICATION_FIELDS,
    USER_FIELDS,
)
from instances.api.gpu_regions import gpu_region_ids
from instances.api.listing import listing, listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object, is_storable
from instances.api.serializers import account as serializers
from instances.api.shapes import account as shapes
from instances.selectors import disturbed_instances_of, regions_for
from inventory.models import Region


class _AccountEndpoint(Endpoint):
    category = "account"


class AccountView(_AccountEndpoint):
    def _json(self) -> shapes.Account:
        has_gpus = bool(gpu_region_ids(self.account))
        return serializers.account_json(self.account, has_gpus=has_gpus)

    @operation("View the account", shapes.Account)
    def get(self, request: Request) -> Response:
        return Response(self._json())

    @operation("Update the account", shapes.Account, takes=shapes.AccountUpdate)
    def put(self, request: Request) -> Response:
        changes = changes_in(
            body_object(request), self._json(), {"email": email_problem}
        )
        if changes:
            self.account.email = changes["email"]
            self.account.save(update_fields=["email"])
        return Response(self._json())


class AccountAvailabilityListView(_AccountEndpoint):
    @operation(
        "List what the account can have",
        shapes.AccountAvailability,
        fields=ACCOUNT_AVAILABILITY_FIELDS,
    )
    def get(self, request: Request) -> Response:
        with_gpus = gpu_region_ids(self.account)

        def build(region: Region) -> shapes.AccountAvailability:
            return serializers.availability_json(
                region, has_gpus=region.pk in with_gpus
            )

        return listing(
            request, regions_for(self.account), ACCOUNT_AVAILABILITY_FIELDS, build
        )


class AccountAvailabilityView(_AccountEndpoint):
    @operation("View what the account can have", shapes.AccountAvailability)
    def get(self, request: Request, region_id: str) -> Response:
        known = is_storable(region_id)
        seen = regions_for(self.account)
        region = seen.filter(slug=region_id).first() if known else None
        if region is None:
            raise Http404
        has_gpus = region.pk in gpu_region_ids(self.account)
        return Response(serializers.availability_json(region, has_gpus=has_gpus))


class SettingsView(_AccountEndpoint):
    @operation("View account settings", shapes.AccountSettings)
    def get(self, request: Request) -> Response:
        return Response(serializers.settings_json())


class _UsersOfTheAccount(_AccountEndpoint):
    def members(self) -> QuerySet[User]:
        members = User.objects.filter(accounts=self.account, is_active=True)
        return members.prefetch_related("ssh_keys").order_by("username")


def _user_json(user: User) -> shapes.User:
    return serializers.user_json(user, [key.label for key in user.ssh_keys.all()])


class UserListView(_UsersOfTheAccount):
    @operation("List users", shapes.User, fields=USER_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.members(), USER_FIELDS, _user_json)


class UserView(_UsersOfTheAccount):
    @operation("View a user", shapes.User)
    def get(self, request: Request, username: str) -> Response:
        known = is_storable(username)
        user = self.members().filter(username=username).first() if known else None
        if user is None:
            raise Http404
        return Response(_user_json(user))


class MaintenanceListView(_AccountEndpoint):
    @operation("List maintenance", shapes.Maintenance, fields=MAINTENANCE_FIELDS)
    def get(self, request: Request) -> Response:
        rows = disturbed_instances_of(self.account)
        return listing(request, rows, MAINTENANCE_FIELDS, serializers.maintenance_json)


class MaintenancePolicyListView(Endpoint):
    @operation("List maintenance policies", shapes.MaintenancePolicy, fields={})
    def get(self, request: Request) -> Response:
        return listing_of_objects(request, serializers.maintenance_policies(), {})


class NotificationListView(_AccountEndpoint):
    @operation("List notifications", shapes.Notification, fields=NOTIFICATION_FIELDS)
    def get(self, request: Request) -> Response:
        rows = disturbed_instances_of(self.account)
        return listing(
            request, rows, NOTIFICATION_FIELDS, serializers.notification_json
        )
