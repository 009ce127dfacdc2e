"""The person of a session, with what each request asks about their access, in one query."""

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Subquery

from gpucloud_site.access.factors import factors_of
from instances.models import AccessEvent


class StaffBackend(ModelBackend):
    def get_user(self, user_id: int) -> User | None:
        """Return the active user, with `has_second_factor` and `sessions_ended_at`."""
        ends = AccessEvent.objects.filter(
            user=OuterRef("pk"), kind=AccessEvent.Kind.SESSIONS_ENDED
        )
        user = (
            User.objects.filter(pk=user_id)
            .annotate(
                has_second_factor=Exists(factors_of(OuterRef("pk"))),
                sessions_ended_at=Subquery(ends.order_by("-at").values("at")[:1]),
            )
            .first()
        )
        return user if user and self.user_can_authenticate(user) else None
