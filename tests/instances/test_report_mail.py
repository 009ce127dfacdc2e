"""The weekly mail of the reports: once a week, whoever dies, and it keeps nobody waiting."""

import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from instances.models import Instance, ReportMail
from instances.report_mail import body, last_week, send_due
from instances.reports.catalogue import REPORTS
from instances.tasks import mail_reports
from tests.admin.conftest import employee, fleet, instance, staff

__all__ = ["employee", "fleet", "instance", "staff"]
_TIMED_OUT = "Connection unexpectedly closed: timed out"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def wanted(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.net"
    settings.REPORT_MAIL_TO = ["ann@example.net", "bob@example.net"]
    settings.SITE_URL = "https://gpu.example.net"


@pytest.fixture
def silent_server(settings: Any) -> Iterator[None]:
    """Give a mail server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.getsockname()
        settings.EMAIL_TIMEOUT = 1
        yield


def test_the_week_is_mailed_once(
    instance: Instance, mailoutbox: list[EmailMessage]
) -> None:
    assert mail_reports()
    assert not mail_reports()

    (mail,) = mailoutbox
    row = ReportMail.objects.get()
    assert (row.week, row.attempts, row.problem) == (last_week(timezone.now()), 1, "")
    assert row.sent_at is not None
    assert mail.to == ["ann@example.net", "bob@example.net"]
    assert mail.subject == f"gpucloud: the week from {row.week}"
    assert mail.body == body(row.week)


def test_it_names_each_report_with_the_address_that_shows_it(
    instance: Instance, staff: Client
) -> None:
    week = last_week(timezone.now()) + timedelta(days=7)
    lines = body(week).splitlines()

    for report in REPORTS.values():
        begin = f"https://gpu.example.net/admin/reports/{report.name}/"
        (address,) = (line for line in lines if line.startswith(begin))
        assert lines[lines.index(address) - 1] == report.title
        assert (
            staff.get(address.removeprefix("https://gpu.example.net")).status_code
            == 200
        )
        assert ("since" in address) == (report.asks == "days")
    assert "rtx6000" in next(line for line in lines if line.startswith("  us-east"))


def test_who_died_has_another_send_it_after_an_hour(
    mailoutbox: list[EmailMessage],
) -> None:
    now = timezone.now()
    # Taken by a worker that died before it noted that it had sent it.
    row = ReportMail.objects.create(
        week=last_week(now), attempts=1, not_before=now + timedelta(hours=1)
    )

    assert not send_due()
    assert mailoutbox == []
    ReportMail.objects.update(not_before=now)
    assert send_due()

    row.refresh_from_db()
    assert (len(mailoutbox), row.attempts) == (1, 2)


def test_a_silent_server_is_given_up_and_asked_again_later(
    silent_server: None, staff: Client
) -> None:
    assert not send_due()
    assert not send_due()

    row = ReportMail.objects.get()
    assert (row.sent_at, row.attempts, row.problem) == (None, 1, _TIMED_OUT)
    assert row.not_before > timezone.now() + timedelta(minutes=30)
    assert f"The last try failed: {_TIMED_OUT}" in staff.get("/admin/reports/").text


@pytest.mark.parametrize("setting", ["EMAIL_HOST", "REPORT_MAIL_TO"])
def test_without_a_server_or_readers_nothing_is_sent(
    setting: str, settings: Any, staff: Client, mailoutbox: list[EmailMessage]
) -> None:
    setattr(settings, setting, "")

    assert not send_due()

    assert mailoutbox == []
    assert not ReportMail.objects.exists()
    assert "They are not mailed" in staff.get("/admin/reports/").text
    with pytest.raises(CommandError, match="GPUCLOUD_"):
        call_command("mail_reports")


def test_by_hand_it_goes_to_anybody_and_the_weeks_own_mail_goes_too(
    mailoutbox: list[EmailMessage], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("mail_reports", "--to", "eve@example.net", week=date(2026, 11, 18))
    call_command("mail_reports", "--show", week=date(2026, 11, 18))

    assert [mail.to for mail in mailoutbox] == [["eve@example.net"]]
    assert mailoutbox[0].subject.endswith("2026-11-16")
    assert "2026-11-16 to 2026-11-22 (UTC)" in capsys.readouterr().out
    assert send_due()
    assert len(mailoutbox) == 2


@pytest.mark.parametrize(
    ("now", "monday"),
    [
        (datetime(2026, 11, 29, 23, 59, tzinfo=UTC), date(2026, 11, 16)),
        (datetime(2026, 11, 30, 0, 0, tzinfo=UTC), date(2026, 11, 23)),
    ],
)
def test_a_week_is_over_on_monday(now: datetime, monday: date) -> None:
    assert last_week(now) == monday
