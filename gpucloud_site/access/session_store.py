"""Sessions by a digest of their key: who reads the database takes over nobody's session.

The key is in the person's cookie alone, as an API token is with its owner alone.
"""

from hashlib import sha256
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone


class SessionStore(DatabaseStore):
    """For synchronous requests, which all of ours are."""

    def _get_session_from_db(self) -> Session | None:
        found = Session.objects.filter(
            session_key=_digest_of(self.session_key or ""),
            expire_date__gt=timezone.now(),
        ).first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return super().exists(_digest_of(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        made = super().create_model_instance(data)
        made.session_key = _digest_of(made.session_key)
        return made

    def delete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            super().delete(_digest_of(key))


def _digest_of(session_key: str) -> str:
    # Of 165 random bits: 160 of a digest are as many, and what the column holds.
    return sha256(session_key.encode()).hexdigest()[:40]
