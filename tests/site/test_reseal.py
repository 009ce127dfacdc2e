"""A new secret key: the old one still reads, the new one writes, and a command ends the old."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from instances.actions.webhooks import create
from instances.models import Instance, SeedSettings, Webhook
from instances.sealed_user_data import opened_user_data
from instances.sealing import SecretLost, resealed, seal, unseal
from instances.webhook_secrets import opened
from tests.admin.access import (
    CODE,
    app_code,
    forget_used_codes,
    logged_in,
    make_staff,
    send_password,
    set_up_factor,
)
from tests.api.builders import Customer
from tests.api.conftest import customer, shop, with_a_disk

__all__ = ["customer", "shop", "with_a_disk"]

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "old" * 20, "new" * 20


def test_old_key_reads_and_new_key_writes(settings: Settings) -> None:
    settings.SECRET_KEY = OLD
    old = seal(b"word", "test")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]

    assert unseal(old, "test") == b"word"
    new = seal(b"word", "test")
    moved = resealed(old, "test")
    assert resealed(moved, "test") == moved

    settings.SECRET_KEY_FALLBACKS = []
    assert unseal(new, "test") == unseal(moved, "test") == b"word"
    with pytest.raises(SecretLost):
        unseal(old, "test")
    with pytest.raises(SecretLost):
        resealed(old, "test")
    with pytest.raises(SecretLost):
        unseal(new, "another purpose")


@pytest.fixture
def secret(
    settings: Settings, customer: Customer, with_a_disk: Callable[[Customer], int]
) -> str:
    """Give the key of an app of Ann's; there are a webhook and user data in work, too.

    All of it is under OLD, and NEW has taken over since.
    """
    settings.SECRET_KEY = OLD
    create(customer.account, "https://ops.example.net/hook", [], "user:carol")
    made = Instance.objects.get(pk=with_a_disk(customer))
    order = {
        "type": "disk-plan",
        "region": "us-east",
        "image": made.image.slug,
        "authorized_users": ["carol"],
        "root_pass": "Sonnenblume-7",
        "metadata": {"user_data": base64.b64encode(b"#cloud-config").decode()},
    }
    answer = customer.api.post("/linode/instances", order)
    assert answer.status_code == 200, answer.content
    secret, _ = set_up_factor(logged_in(make_staff()))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    return secret


def log_in_with_the_app(secret: str) -> int:
    for factor in Authenticator.objects.filter(type=Authenticator.Type.TOTP):
        forget_used_codes(factor.user)
    client = Client()
    send_password(client)
    client.post(CODE, {"code": app_code(secret)})
    return client.get("/admin/").status_code


def test_everything_is_brought_under_the_new_key_and_the_old_one_can_go(
    secret: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = opened(Webhook.objects.get().sealed_secret)

    call_command("reseal")

    assert capsys.readouterr().out.splitlines() == [
        "webhooks: 1 brought under the key of now",
        "second factors: 2 brought under the key of now",
        "user data in work: 1 brought under the key of now",
    ]
    settings.SECRET_KEY_FALLBACKS = []
    assert opened(Webhook.objects.get().sealed_secret) == before
    kept = SeedSettings.objects.exclude(user_data=b"").get()
    assert opened_user_data(bytes(kept.user_data)) == b"#cloud-config"
    assert log_in_with_the_app(secret) == 200

    call_command("reseal")
    assert capsys.readouterr().out.count(": 0 brought") == 3


def test_what_no_key_reads_is_named_and_the_rest_is_done(
    secret: str, settings: Settings
) -> None:
    hook = Webhook.objects.get()
    settings.SECRET_KEY = "third" * 10
    lost = seal(b"whsec_x", "webhook secrets").decode()
    Webhook.objects.filter(pk=hook.pk).update(sealed_secret=lost)
    settings.SECRET_KEY = NEW

    with pytest.raises(CommandError, match=rf"webhooks: 1 under .* \({hook.pk}\)"):
        call_command("reseal")

    settings.SECRET_KEY_FALLBACKS = []
    assert log_in_with_the_app(secret) == 200
    assert Webhook.objects.get().sealed_secret == lost


def test_every_purpose_of_a_seal_is_brought_along() -> None:
    """A new one that the command forgets would be lost with the old key."""
    found = {
        path.name
        for folder in ("instances", "inventory", "gpucloud_site", "flags")
        for path in (ROOT / folder).rglob("*.py")
        if "from instances.sealing import resealed, seal" in path.read_text()
        or "from instances.sealing import seal" in path.read_text()
    }

    assert found == {"sealed_user_data.py", "webhook_secrets.py", "allauth_adapters.py"}
