"""GET, POST and DELETE /tags: the account's tags and what carries them."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions import tags as actions
from instances.api.endpoint import Endpoint
from instances.api.errors import Problem
from instances.api.listing import listing, listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object, is_id, is_storable
from instances.api.serializers.instances import tagged_json
from instances.api.shapes.account import Tag, TagCreate
from instances.api.shapes.instances import TaggedObject
from instances.exceptions import InvalidRequest
from instances.instance_names import TAG_LENGTHS
from instances.selectors import instances_of, tag_labels_of

_LABEL_RULE = f"Length must be {TAG_LENGTHS[0]}-{TAG_LENGTHS[-1]} characters"
# What Linode can tag and we do not sell; an empty list asks for nothing.
_NOT_SOLD = ("domains", "nodebalancers", "reserved_ipv4_addresses", "volumes")


def _tag_json(label: str) -> Tag:
    return {"label": label}


class TagListView(Endpoint):
    category = "account"

    @operation("List tags", Tag, fields={})
    def get(self, request: Request) -> Response:
        tags = [_tag_json(label) for label in tag_labels_of(self.account)]
        return listing_of_objects(request, tags, {})

    @operation("Create a tag", Tag, takes=TagCreate)
    def post(self, request: Request) -> Response:
        label, instance_ids = _checked(body_object(request))
        actions.create(self.account, label, instance_ids)
        return Response(_tag_json(label))


class TagView(Endpoint):
    category = "account"

    def _known(self, label: str) -> str:
        if not is_storable(label) or label not in tag_labels_of(self.account):
            raise Http404
        return label

    @operation("List what carries a tag", TaggedObject, fields={})
    def get(self, request: Request, label: str) -> Response:
        rows = instances_of(self.account).filter(tags__contains=[self._known(label)])
        return listing(request, rows, {}, tagged_json)

    @operation("Delete a tag")
    def delete(self, request: Request, label: str) -> Response:
        actions.remove(self.account, self._known(label))
        return Response({})


def _checked(body: Mapping[str, Any]) -> tuple[str, list[int]]:
    """Return label and ids of Linodes. Raises InvalidRequest."""
    label, instance_ids = body.get("label"), body.get("linodes") or []
    problems: list[Problem] = []
    if not isinstance(label, str) or len(label) not in TAG_LENGTHS:
        problems.append(("label", _LABEL_RULE))
    if not isinstance(instance_ids, list) or not all(map(is_id, instance_ids)):
        problems.append(("linodes", "linodes must be a list of ids"))
    for name, value in body.items():
        if name in _NOT_SOLD and value:
            problems.append((name, f"{name} cannot be had yet; leave it out"))
        elif name not in ("label", "linodes", *_NOT_SOLD):
            problems.append((name[:100], "There is no such field"))
    if problems:
        raise InvalidRequest(problems)
    return str(label), instance_ids
