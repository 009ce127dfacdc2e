"""Count a token's requests in fixed windows, in a table that all web workers share."""

from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from instances.models import ApiToken, TokenRate

# One statement, so that requests at the same time are all counted; the database's clock,
# so that every web machine is in the same window.
_COUNT = """
INSERT INTO {table} AS rate (token_id, "window", requests)
VALUES (%(token)s, {now} / %(window_s)s * %(window_s)s, 1)
ON CONFLICT (token_id) DO UPDATE SET
    requests = CASE WHEN rate."window" = excluded."window" THEN rate.requests + 1 ELSE 1 END,
    "window" = excluded."window"
RETURNING requests, "window", {now}
"""
_NOW = "extract(epoch FROM statement_timestamp())::bigint"


@dataclass(frozen=True, slots=True)
class RateUse:
    """What a token used in the window. resets_at: its end, in seconds since 1970."""

    limit: int
    used: int
    resets_at: int
    now: int

    @property
    def is_over(self) -> bool:
        return self.used > self.limit

    @property
    def wait_s(self) -> int:
        """Whole seconds until the next window, at least one."""
        return max(1, self.resets_at - self.now)

    @property
    def headers(self) -> dict[str, str]:
        """Linode API v4's headers; they tell before a request is refused."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": str(self.resets_at),
        }


def count(token: ApiToken) -> RateUse | None:
    """Count one request of the token; one statement. None while there is no limit."""
    limit, window_s = settings.API_RATE_LIMIT, settings.API_RATE_WINDOW_S
    if not limit:
        return None
    table = connection.ops.quote_name(TokenRate._meta.db_table)  # noqa: SLF001 -- public
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT.format(table=table, now=_NOW),
            {"token": token.pk, "window_s": window_s},
        )
        used, window, now = cursor.fetchone()
    return RateUse(limit, used, window + window_s, now)
