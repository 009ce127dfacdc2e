"""Images: fetched within limits, checked, and on offer only if they are what they should be."""

import hashlib
import http.server
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from pytest_django import Settings

from instances import image_store, outbound
from instances.actions.images import save_image
from instances.choices import ImageStatus
from instances.disk_images import virtual_bytes
from instances.exceptions import ImageUnusable
from instances.fetching import Limits, fetched
from instances.image_catalogue import check_image, due_images
from instances.models import Image
from instances.outbound import is_public

RAW = b"\x55\xaa" * 512
DIGEST = hashlib.sha256(RAW).hexdigest()


def qcow2(size: int = 1 << 30, **fields: int) -> bytes:
    """Return a header of version 3. backing, encryption, incompatible: its fields."""
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb",
        fields.get("version", 3),
        fields.get("backing", 0),
        0,
        16,
        size,
        fields.get("encryption", 0),
        *(0, 0, 0, 0, 0, 0),
        fields.get("incompatible", 0),
        *(0, 0, 4, 104),
    )


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.IMAGE_FOLDER = str(tmp_path)
    settings.IMAGE_FETCH_PRIVATE = True
    (tmp_path / "disk.raw").write_bytes(RAW)
    return tmp_path


class Site(http.server.BaseHTTPRequestHandler):
    """Answers /disk with RAW; counts how often, and the bytes of /drip."""

    asked = 0
    dripped = 0

    def do_GET(self) -> None:
        Site.asked += 1
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/disk")
            self.end_headers()
            return
        if self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest")
            self.end_headers()
            return
        if self.path == "/nowhere":
            self.send_response(302)
            self.send_header("Location", "http://[")
            self.end_headers()
            return
        if self.path == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", str(len(RAW)))
            self.end_headers()
            with suppress(OSError):
                for byte in RAW:
                    self.wfile.write(bytes([byte]))
                    Site.dripped += 1
                    time.sleep(0.05)
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/disk", "/torn") else 404)
        length = len(RAW) * 2 if self.path == "/torn" else len(RAW)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(RAW)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    Site.asked = Site.dripped = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def left_in(folder: Path) -> set[str]:
    return {path.suffix for path in (folder / "cache").iterdir()} - {".lock"}


def test_size_is_read_from_the_header() -> None:
    assert virtual_bytes(qcow2(3 << 30), "qcow2", 200_000) == 3 << 30
    assert virtual_bytes(qcow2(3 << 30, version=2), "qcow2", 200_000) == 3 << 30
    assert virtual_bytes(RAW[:104], "raw", 1024) == 1024


@pytest.mark.parametrize(
    ("header", "form", "why"),
    [
        (qcow2(backing=4096), "qcow2", "refers to another file"),
        (qcow2(incompatible=4), "qcow2", "refers to another file"),
        (qcow2(encryption=2), "qcow2", "encrypted"),
        (qcow2(version=9), "qcow2", "version 9"),
        (qcow2(0), "qcow2", "Not a qcow2 image"),
        (qcow2()[:60], "qcow2", "no qcow2 image"),
        (RAW, "qcow2", "no qcow2 image"),
        (qcow2(), "raw", "is a qcow2 image"),
    ],
)
def test_image_that_could_harm_a_host_is_refused(
    header: bytes, form: str, why: str
) -> None:
    with pytest.raises(ImageUnusable, match=why):
        virtual_bytes(header, form, 200_192)


def test_raw_file_that_is_no_disk_is_refused() -> None:
    for size in (0, 1000):
        with pytest.raises(ImageUnusable, match="no raw disk"):
            virtual_bytes(b"", "raw", size)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 -- an address to refuse
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::ffff:0:7f00:1", False),
        ("::7f00:1", False),
        ("fec0::1", False),
        ("2002:7f00:1::", False),
        ("192.88.99.1", False),
        ("3fff::1", False),
        ("5f00::1", False),
    ],
)
def test_only_the_open_internet_is_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


def test_fetch_follows_redirects_and_keeps_its_limits(site: str) -> None:
    limits = Limits(1 << 20, 30, allows_private=True)

    assert b"".join(fetched(f"{site}/moved", limits)) == RAW
    for path, narrow, why in (
        ("/none", limits, "answered 404"),
        ("/loop", limits, "redirects"),
        ("/torn", limits, "could not be read|ended before"),
        ("/disk", Limits(100, 30, allows_private=True), "larger than"),
        ("/disk", Limits(1 << 20, -1, allows_private=True), "not fetched within"),
        ("/drip", Limits(1 << 20, 0.5, allows_private=True), "not fetched within 0.5"),
        ("/nowhere", limits, "could not be read"),
        ("/ü", limits, "could not be read"),
        ("/disk", Limits(1 << 20, 30), "private network"),
    ):
        with pytest.raises(ImageUnusable, match=why):
            b"".join(fetched(site + path, narrow))
    # It did not wait for the end.
    assert Site.dripped < len(RAW)


def test_what_may_be_secret_in_an_address_is_not_told(site: str) -> None:
    url = f"http://user:s3cret@{site.partition('//')[2]}/none?signature=abc"

    with pytest.raises(ImageUnusable) as refused:
        b"".join(fetched(url, Limits(1 << 20, 30, allows_private=True)))

    assert str(refused.value) == f"{site}/none answered 404."


def test_redirect_into_the_private_network_is_refused(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = outbound.is_public
    monkeypatch.setattr(outbound, "is_public", lambda a: a == "127.0.0.1" or real(a))

    with pytest.raises(ImageUnusable, match=r"169\.254\.169\.254 is inside"):
        b"".join(fetched(f"{site}/inside", Limits(1 << 20, 30)))


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.net/x", "http://", "https://a:b/"]
)
def test_other_schemes_and_torn_addresses_are_refused(url: str) -> None:
    with pytest.raises(ImageUnusable, match=r"only http|could not be read"):
        b"".join(fetched(url, Limits(1, 1)))


def test_image_is_fetched_once_for_all_who_want_it(folder: Path, site: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        wanted = [
            pool.submit(image_store.local_file, f"{site}/disk", DIGEST, "raw")
            for _ in range(4)
        ]
        files = [each.result() for each in wanted]

    assert Site.asked == 1
    assert {file.path.read_bytes() for file in files} == {RAW}
    assert {(file.file_bytes, file.virtual_bytes) for file in files} == {(1024, 1024)}


def test_wrong_digest_leaves_nothing_behind(folder: Path, site: str) -> None:
    for source in (f"{site}/disk", "disk.raw"):
        with pytest.raises(ImageUnusable, match=f"digest {DIGEST}, not 0000"):
            image_store.local_file(source, "0" * 64, "raw")

    assert left_in(folder) == set()


def test_full_disk_is_named_and_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10

    monkeypatch.setattr(image_store.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(ImageUnusable, match="is full: free some space"):
        image_store.local_file("disk.raw", DIGEST, "raw")

    assert left_in(folder) == set()


@pytest.mark.parametrize("source", ["../secret", "/etc/passwd", "none.raw", "."])
def test_file_outside_the_folder_is_refused(folder: Path, source: str) -> None:
    (folder.parent / "secret").write_bytes(RAW)

    with pytest.raises(ImageUnusable, match="image folder"):
        image_store.local_file(source, DIGEST, "raw")


@pytest.mark.django_db
def test_image_is_on_offer_once_it_was_checked(folder: Path) -> None:
    image = Image(
        slug="a/b", label="A", source="disk.raw", sha256=DIGEST, disk_format="raw"
    )
    save_image(image)
    assert image.status == ImageStatus.CREATING
    assert due_images() == [image.pk]

    checked = check_image(image.pk)

    assert checked is not None
    assert (checked.status, checked.file_bytes, checked.virtual_bytes) == (
        "available",
        1024,
        1024,
    )
    assert due_images() == []
    checked.label = "B"
    save_image(checked)
    assert checked.status == ImageStatus.AVAILABLE
    checked.sha256 = "1" * 64
    save_image(checked)
    assert (checked.status, checked.file_bytes) == (ImageStatus.CREATING, None)
    again = check_image(image.pk)
    assert again is not None
    assert again.status == ImageStatus.PENDING_UPLOAD
    assert DIGEST in again.problem


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"kernel_path": "/k", "source": "x", "sha256": DIGEST, "disk_format": "raw"},
        {"source": "x", "sha256": "short", "disk_format": "raw"},
        {"source": "x", "sha256": DIGEST},
        {},
        {
            "source": "x",
            "sha256": DIGEST,
            "disk_format": "raw",
            "status": ImageStatus.AVAILABLE,
        },
    ],
)
def test_image_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    values = {"slug": "a/b", "label": "A", "status": ImageStatus.CREATING, **fields}

    with pytest.raises(IntegrityError, match="image_"):
        Image.objects.create(**values)


@pytest.mark.django_db
def test_command_adds_an_image_or_says_what_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("add_image", "a/b", "disk.raw", DIGEST, "--format", "raw")
    call_command("add_image", "a/b", "disk.raw", DIGEST, "--format", "raw")

    assert "a/b: 1024 bytes, needs 1 MiB of disk" in capsys.readouterr().out
    assert Image.objects.get().status == ImageStatus.AVAILABLE
    with pytest.raises(CommandError, match="64 hexadecimal digits"):
        call_command("add_image", "a/c", "disk.raw", "123")
    with pytest.raises(CommandError, match="no qcow2 image"):
        call_command("add_image", "a/c", "disk.raw", DIGEST)
