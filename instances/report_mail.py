"""Mail what the reports say of the week that is over to those who ask for it.

Once a week, by a row that one worker takes. At least once: who dies between the mail
server's answer and the note that it was sent has another mail it again an hour later.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from instances.models import ReportMail
from instances.reports.catalogue import REPORTS, Report
from instances.reports.table import Asked, Table, shown
from inventory.ledger import clock

logger = logging.getLogger(__name__)

ROWS_MAILED = 10
# Far longer than a try may take: a worker is killed after GPUCLOUD_JOB_TIMEOUT_S.
RETRY_AFTER = timedelta(hours=1)


def is_wanted() -> bool:
    """Say whether there is a mail server, and somebody to mail to."""
    return bool(settings.EMAIL_HOST and settings.REPORT_MAIL_TO)


def monday(day: date) -> date:
    """Return the first day of the day's week."""
    return day - timedelta(days=day.weekday())


def last_week(now: datetime) -> date:
    """Return the Monday of the week that was over last, UTC."""
    return monday(now.astimezone(UTC).date()) - timedelta(days=7)


def send_due() -> bool:
    """Mail last week's reports unless that is done; say whether it was done now.

    Blocks up to the mail server's deadline for each of its answers. What fails is tried
    again an hour later, until the next week is over.
    """
    if not is_wanted():
        return False
    week = last_week(clock())
    ReportMail.objects.bulk_create([ReportMail(week=week)], ignore_conflicts=True)
    due = ReportMail.objects.filter(week=week, sent_at=None, not_before__lte=Now())
    if not due.update(not_before=Now() + RETRY_AFTER, attempts=F("attempts") + 1):
        return False
    row = ReportMail.objects.filter(week=week)
    try:
        send(week, settings.REPORT_MAIL_TO)
    except OSError as error:  # smtplib's errors are such, and a timeout is.
        logger.warning("the reports of %s were not mailed: %s", week, error)
        row.update(problem=str(error)[:500] or type(error).__name__)
        return False
    row.update(sent_at=Now(), problem="")
    return True


def send(week: date, addresses: Sequence[str]) -> None:
    """Mail the reports of the week that begins on the Monday `week`, one mail to all.

    Raises OSError, smtplib's among them, when the server does not take it for anybody.
    """
    EmailMessage(
        subject=_("gpucloud: the week from %(day)s") % {"day": week},
        body=body(week),
        to=list(addresses),
        connection=get_connection(timeout=settings.EMAIL_TIMEOUT),
    ).send()


def body(week: date) -> str:
    """Return the mail's text: each report's address, and the first of its rows."""
    asked = Asked(week, week + timedelta(days=6))
    parts = [
        _(
            "What the reports say of %(since)s to %(until)s (UTC); those on the fleet, of "
            "now."
        )
        % {"since": asked.since, "until": asked.until}
    ]
    parts += ["\n".join(_lines(report, asked)) for report in REPORTS.values()]
    return "\n\n".join(parts) + "\n"


def _lines(report: Report, asked: Asked) -> Iterator[str]:
    table = report.table(asked)
    yield report.title
    yield _address(report, asked)
    if table.rows:
        yield from _aligned(table)
    else:
        yield f"  {_('Nothing to tell.')}"
    if len(table.rows) > ROWS_MAILED:
        more = len(table.rows) - ROWS_MAILED
        told = ngettext(
            "and %(rows)s more row at that address",
            "and %(rows)s more rows at that address",
            more,
        )
        yield f"  {told % {'rows': more}}"


def _address(report: Report, asked: Asked) -> str:
    days = {"since": asked.since, "until": asked.until}
    query = f"?{urlencode(days)}" if report.asks == "days" else ""
    return f"{settings.SITE_URL}{reverse('admin:report', args=[report.name])}{query}"


def _aligned(table: Table) -> Iterator[str]:
    head = [column.heading for column in table.columns]
    rows = [head, *(list(map(shown, row)) for row in table.rows[:ROWS_MAILED])]
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.rjust(width) if column.is_number else text.ljust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        ]
        yield "  " + "  ".join(cells).rstrip()
