"""GET and PUT /gpucloud/instances/{id}/feedback: what an account says of a Linode."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.feedback import give_feedback
from instances.api.changes import changes_in
from instances.api.endpoint import Endpoint
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.serializers.feedback import feedback_json
from instances.api.shapes import feedback as shapes
from instances.feedback import CHECKS
from instances.models import Instance, InstanceFeedback


class FeedbackView(Endpoint):
    category = "linodes"

    @operation("View a Linode's feedback", shapes.Feedback)
    def get(self, request: Request, instance_id: int) -> Response:
        instance, row = self._found(instance_id)
        return Response(feedback_json(instance, row))

    @operation(
        "Give feedback on a Linode", shapes.Feedback, takes=shapes.FeedbackUpdate
    )
    def put(self, request: Request, instance_id: int) -> Response:
        instance, row = self._found(instance_id)
        shown = feedback_json(instance, row)
        changes = changes_in(body_object(request), shown, CHECKS)
        if changes:
            row = give_feedback(instance, changes, self.actor)
        return Response(feedback_json(instance, row))

    def _found(self, instance_id: int) -> tuple[Instance, InstanceFeedback | None]:
        """Find the account's instance, also one that has ended: that is said of a life."""
        rows = Instance.objects.filter(account=self.account).select_related("feedback")
        instance = rows.filter(pk=instance_id).first()
        if instance is None:
            raise Http404
        return instance, getattr(instance, "feedback", None)
