"""Find what an earlier request with the same Idempotency-Key made."""

from typing import Protocol, TypeVar

from django.db.models import Model, QuerySet

from instances.exceptions import IdempotencyConflict
from instances.models import Account

Made = TypeVar("Made", bound=Model)


class Order(Protocol):
    """What was asked for. digest: of the content; idempotency_key: empty for none."""

    @property
    def account(self) -> Account: ...
    @property
    def idempotency_key(self) -> str: ...
    @property
    def digest(self) -> str: ...


def made_before(order: Order, rows: QuerySet[Made]) -> Made | None:
    """Return the row that the order's key made first, None if none did.

    rows: of a model with account, idempotency_key and request_digest. Raises
    IdempotencyConflict if the key was used for another content.
    """
    if not order.idempotency_key:
        return None
    first = rows.filter(
        account=order.account, idempotency_key=order.idempotency_key
    ).first()
    if first is not None and first.request_digest != order.digest:  # type: ignore[attr-defined]
        raise IdempotencyConflict(
            "This Idempotency-Key was used for another request. Use a new key."
        )
    return first
