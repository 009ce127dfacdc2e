"""GET, POST, PUT and DELETE /profile/sshkeys: the public keys of the token's user."""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions import ssh_keys as actions
from instances.api.changes import changes_in, text_of
from instances.api.endpoint import Endpoint
from instances.api.errors import Problem
from instances.api.filter_fields import SSH_KEY_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.serializers.profile import ssh_key_json
from instances.api.shapes import profile as shapes
from instances.exceptions import InvalidRequest
from instances.models import SSHKey
from instances.ssh_keys import UnfitKey, canonical

_LABEL = text_of(64)


class _KeysOfTheUser(Endpoint):
    category = "account"

    def keys(self) -> QuerySet[SSHKey]:
        return SSHKey.objects.filter(user=self.token.user).order_by("pk")

    def owned(self, key_id: int) -> SSHKey:
        key = self.keys().filter(pk=key_id).first()
        if key is None:
            raise Http404
        return key


class SSHKeyListView(_KeysOfTheUser):
    @operation("List SSH keys", shapes.SSHKey, fields=SSH_KEY_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.keys(), SSH_KEY_FIELDS, ssh_key_json)

    @operation("Add an SSH key", shapes.SSHKey, takes=shapes.SSHKeyCreate)
    def post(self, request: Request) -> Response:
        body = body_object(request)
        label, text = body.get("label"), body.get("ssh_key")
        problems: list[Problem] = [
            (name, "There is no such field")
            for name in body
            if name not in ("label", "ssh_key")
        ]
        if problem := _LABEL(label):
            problems.append(("label", problem))
        try:
            public_key = canonical(text if isinstance(text, str) else "")
        except UnfitKey as error:
            problems.append(("ssh_key", f"ssh_key {error}"))
        if problems:
            raise InvalidRequest(problems)
        return Response(
            ssh_key_json(actions.add(self.token.user, str(label), public_key))
        )


class SSHKeyView(_KeysOfTheUser):
    @operation("View an SSH key", shapes.SSHKey)
    def get(self, request: Request, key_id: int) -> Response:
        return Response(ssh_key_json(self.owned(key_id)))

    @operation("Rename an SSH key", shapes.SSHKey, takes=shapes.SSHKeyUpdate)
    def put(self, request: Request, key_id: int) -> Response:
        key = self.owned(key_id)
        changes = changes_in(body_object(request), ssh_key_json(key), {"label": _LABEL})
        if changes:
            key = actions.rename(key, changes["label"])
        return Response(ssh_key_json(key))

    @operation("Delete an SSH key")
    def delete(self, request: Request, key_id: int) -> Response:
        self.owned(key_id).delete()
        return Response({})
