"""The database behind the steps of disks: images on hosts, and what a seed is made from."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Concat, Now

from instances.cloud_init import (
    NetworkSettings,
    Seed,
    hostname_of,
    keys_in,
    seed_files,
)
from instances.exceptions import ImageUnusable, StepFailed
from instances.guest_disk import DiskPlan
from instances.image_store import forget, local_file
from instances.models import HostImage, Image, Instance, SeedSettings
from instances.sealed_user_data import opened_user_data, sealed_user_data
from instances.sealing import SecretLost
from inventory.address_claims import open_address_of
from inventory.models import Host

# Longer than the deadline of one part (supervised.upload_volume).
UPLOAD_LEASE_S = 180
# Before the name of an upload that is to be deleted: no volume's name begins so.
_TORN = "torn:"


@dataclass(frozen=True, slots=True)
class InstanceStorage:
    """jobs.context.Storage for one instance on one host; reads rows anew at every call.

    image: that the plan is made from. reset: names the password reset that the seed is
    written for, empty for none.
    """

    instance: Instance
    image: Image
    host: Host
    plan: DiskPlan
    reset: str = ""

    def image_file(self) -> Path:
        image = self.image
        try:
            return local_file(image.source, image.sha256, image.disk_format).path
        except ImageUnusable as error:
            # Its own words are for staff: they name addresses and folders of ours.
            raise StepFailed(
                "The image cannot be had now. Please try again later.", str(error)
            ) from error

    def forget_image_file(self) -> None:
        forget(self.plan.image.digest)

    def whole_volume(self) -> str:
        found = self._rows().values_list("volume", flat=True).first()
        return found or ""

    def take_torn_upload(self) -> str:
        free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
        # Kept until it is gone from the host, under a name that fences out its worker.
        self._rows().filter(free).exclude(
            Q(upload="") | Q(upload__startswith=_TORN)
        ).update(upload=Concat(Value(_TORN), F("upload")), lease_expires_at=None)
        torn = self._rows().filter(upload__startswith=_TORN)
        found = torn.values_list("upload", flat=True).first()
        return found.removeprefix(_TORN) if found else ""

    def forget_torn_upload(self, volume: str) -> None:
        self._rows().filter(upload=_TORN + volume).update(upload="")

    def take_upload(self) -> str:
        digest = self.plan.image.digest
        HostImage.objects.get_or_create(host=self.host, digest=digest)
        # Hosts may share a pool: each has names of its own.
        volume = f"{digest}-{self.host.pk}-{uuid.uuid4().hex[:8]}"
        taken = (
            self._rows()
            .filter(volume="", upload="")
            .update(upload=volume, lease_expires_at=_lease_end())
        )
        return volume if taken else ""

    def renew_upload(self, volume: str) -> None:
        self._held(volume, lease_expires_at=_lease_end())

    def finish_upload(self, volume: str) -> None:
        self._held(
            volume, volume=volume, upload="", lease_expires_at=None, verified_at=Now()
        )

    def abandon_upload(self, volume: str) -> None:
        self._rows().filter(upload=volume).update(lease_expires_at=None)

    def forget_volume(self, volume: str) -> None:
        self._rows().filter(volume=volume).update(volume="", verified_at=None)

    def seed_files(self) -> dict[str, bytes]:
        settings = SeedSettings.objects.filter(instance=self.instance).first()
        if settings is None:
            raise StepFailed(
                "What the machine was to be set up with is no longer held.",
                "its seed's settings were used up or deleted",
            )
        return seed_files(
            Seed(
                instance_id=self.instance.cloud_init_id,
                hostname=hostname_of(self.instance.label),
                authorized_keys=tuple(settings.authorized_keys),
                password_hash=settings.password_hash,
                user_data=_user_data_of(settings),
                network=self._network(),
                password_reset=self.reset,
            )
        )

    def noted_seed(self) -> str:
        return Instance.objects.values_list("metadata_digest", flat=True).get(
            pk=self.instance.pk
        )

    def note_seed(self, digest: str) -> None:
        kept = SeedSettings.objects.get(instance=self.instance)
        Instance.objects.filter(pk=self.instance.pk).update(
            metadata_digest=digest, has_user_data=bool(kept.user_data)
        )

    def recall(self, files: dict[str, bytes]) -> None:
        try:
            keys = list(keys_in(files))
        except ValueError as error:
            raise StepFailed(
                "What the machine was set up with cannot be read. Rebuild it instead.",
                f"its seed was changed on its host: {error}",
            ) from error
        SeedSettings.objects.filter(instance=self.instance).update(
            authorized_keys=keys,
            user_data=sealed_user_data(files["user-data"]),
        )

    def _network(self) -> NetworkSettings | None:
        held = open_address_of(self.instance.uuid)
        if held is None:
            return None
        return NetworkSettings(
            mac=held.mac,
            ipv4=held.address,
            prefix_length=held.pool.prefix_length,
            gateway=held.pool.gateway,
            nameservers=tuple(held.pool.nameservers),
            ipv6=held.ipv6,
        )

    def _rows(self) -> QuerySet[HostImage]:
        return HostImage.objects.filter(host=self.host, digest=self.plan.image.digest)

    def _held(self, filled: str, **changes: object) -> None:
        if not self._rows().filter(upload=filled).update(**changes):
            raise StepFailed(
                "The image did not reach the host in time. Please try again.",
                f"upload {filled} was overtaken by another worker's",
            )


def _lease_end() -> object:
    return Now() + timedelta(seconds=UPLOAD_LEASE_S)


def _user_data_of(settings: SeedSettings) -> bytes:
    try:
        return opened_user_data(bytes(settings.user_data))
    except SecretLost as error:
        raise StepFailed(
            "What the machine was to be set up with can no longer be read.",
            "its user data was sealed under a SECRET_KEY that is no longer known: keep "
            "the old one in GPUCLOUD_SECRET_KEY_FALLBACKS while work is open",
        ) from error
