"""Moments as Linode API v4 writes them; pure."""

from datetime import UTC, datetime

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


def time_of(moment: datetime) -> str:
    """Return the moment in UTC, without zone or fraction: clients parse just this form."""
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def time_from(text: str) -> datetime:
    """Return the moment that time_of() wrote. Raises ValueError."""
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
