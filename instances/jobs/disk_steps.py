"""The steps that bring an image to a host, and make and delete a guest's disk and seed.

As in jobs.steps: each may die anywhere and be run again from its start. A guest without
a disk of its own, which boots a kernel of its host, has no storage: then nothing is done.
"""

import hashlib
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from instances.cloud_init import digest_of, seed_image
from instances.exceptions import InstancesError, StepFailed
from instances.jobs import volume_work
from instances.jobs.context import StepContext, Storage
from instances.jobs.steps import held
from instances.jobs.volume_work import wait_out
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.port import Backing, Hypervisor

# What is sent in one call, and renews the leases.
UPLOAD_PART_BYTES = 64 << 20
_POLL_S = 1.0
_LONGEST_WAIT_S = 600.0


class EnsureImage:
    """Several launches at once share one upload; who comes second waits for it."""

    name = "ensure_image"
    label = "Image on the host"
    timeout_s = 900
    poll_s = _POLL_S

    def storage_of(self, context: StepContext) -> Storage | None:
        """Return the storage of the image that is needed; None: none is."""
        return context.storage

    def do(self, context: StepContext) -> None:
        storage = self.storage_of(context)
        if storage is None:
            return
        hypervisor = held(context).hypervisor
        plan = storage.plan
        if not (plan.image.file_bytes and plan.image.virtual_bytes):
            raise StepFailed(
                "The image is being checked. Please try again later.",
                f"the sizes of image {plan.image.digest} are not known yet",
            )
        hypervisor.ensure_folder_pool(plan.image_pool, plan.image_folder)
        deadline = time.monotonic() + _LONGEST_WAIT_S
        while not _image_is_there(hypervisor, storage):
            context.renew_lease(self.timeout_s)
            # Before the upload's lease, which a slow fetch would outlast.
            path = storage.image_file()
            _delete_torn_upload(context, storage)
            volume = storage.take_upload()
            if volume:
                self._fill(context, storage, volume, path)
            elif time.monotonic() > deadline:
                raise StepFailed(
                    "The image is still on its way to the host. Please try again.",
                    f"another job has been sending it for {_LONGEST_WAIT_S:.0f} s",
                )
            else:
                time.sleep(self.poll_s)

    def _fill(
        self,
        context: StepContext,
        storage: Storage,
        volume: str,
        path: Path,
    ) -> None:
        hypervisor, pool = held(context).hypervisor, storage.plan.image_pool
        try:
            self._upload(context, storage, volume, path)
        except (HypervisorError, InstancesError, OSError, SystemExit) as error:
            # Also by a worker that ends: others must not wait for its lease to run out.
            storage.abandon_upload(volume)
            # A silent host is not asked again; who fills the next one deletes this.
            if not isinstance(error, HostUnreachable):
                with suppress(HypervisorError):
                    hypervisor.delete_volume(pool, volume)
                if isinstance(error, HypervisorError):
                    _check_room(hypervisor, storage)
            raise
        storage.finish_upload(volume)

    def _upload(
        self,
        context: StepContext,
        storage: Storage,
        volume: str,
        path: Path,
    ) -> None:
        image, pool = storage.plan.image, storage.plan.image_pool
        hypervisor = held(context).hypervisor
        _check_room(hypervisor, storage)
        hypervisor.create_volume(pool, volume, image.virtual_bytes, image.format)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for offset in range(0, image.file_bytes, UPLOAD_PART_BYTES):
                context.renew_lease(self.timeout_s)
                storage.renew_upload(volume)
                part = file.read(UPLOAD_PART_BYTES)
                digest.update(part)
                hypervisor.upload_volume(pool, volume, str(path), offset, len(part))
        if digest.hexdigest() != image.digest:
            storage.forget_image_file()
            raise StepFailed(
                "The image is damaged. We have been told.",
                f"{path} has the digest {digest.hexdigest()}, not {image.digest}",
            )

    def undo(self, context: StepContext) -> None:
        """The image stays for the next guest."""


def _image_is_there(hypervisor: Hypervisor, storage: Storage) -> bool:
    volume = storage.whole_volume()
    if not volume:
        return False
    facts = hypervisor.volume(storage.plan.image_pool, volume)
    if facts is not None and facts.capacity == storage.plan.image.virtual_bytes:
        return True
    # The host was set up anew, or somebody deleted the file, or its storage is not there
    # yet: then disks are based on the volume, which is why nobody ever deletes it.
    storage.forget_volume(volume)
    return False


def _delete_torn_upload(context: StepContext, storage: Storage) -> None:
    """Delete what a worker left that died."""
    torn = storage.take_torn_upload()
    if torn:
        hypervisor, pool = held(context).hypervisor, storage.plan.image_pool
        wait_out(context, partial(hypervisor.delete_volume, pool, torn))
        storage.forget_torn_upload(torn)


def _check_room(hypervisor: Hypervisor, storage: Storage) -> None:
    pool, needed = storage.plan.image_pool, storage.plan.image.file_bytes
    free = hypervisor.pools().get(pool)
    if free is not None and free < needed:
        raise StepFailed(
            "The host has no room for this image.",
            f"pool {pool} has {free >> 20} MiB free, the image has {needed >> 20} MiB: "
            "delete images that nobody uses, or enlarge the pool",
        )


def need_whole_image(storage: Storage) -> str:
    """Return the image's volume on the host. Raises StepFailed if there is none."""
    volume = storage.whole_volume()
    if not volume:
        raise StepFailed(
            "The image was changed meanwhile. Please try again.",
            f"image {storage.plan.image.digest} is not on the host: "
            "its digest was edited after the image was sent",
        )
    return volume


class CreateDisk:
    """A disk that is there was made by an attempt that died: no guest ever ran on it."""

    name = "create_disk"
    label = "Disk made from the image"
    timeout_s = 900

    def do(self, context: StepContext) -> None:
        storage = context.storage
        if storage is None:
            return
        machine = held(context)
        if machine.is_on():
            return
        hypervisor, plan = machine.hypervisor, storage.plan
        base = Backing(plan.image_pool, need_whole_image(storage), plan.image.format)
        hypervisor.ensure_folder_pool(plan.disk_pool, plan.disk_folder)
        volume_work.delete(context, plan.disk_pool, plan.volume, is_wiped=False)
        if not plan.is_full_copy:
            hypervisor.create_volume(
                plan.disk_pool, plan.volume, plan.capacity_bytes, "qcow2", base
            )
            return
        hypervisor.clone_volume(plan.disk_pool, plan.volume, base)
        if plan.capacity_bytes > plan.image.virtual_bytes:
            hypervisor.resize_volume(plan.disk_pool, plan.volume, plan.capacity_bytes)

    def undo(self, context: StepContext) -> None:
        if context.storage is not None:
            _delete(context, context.storage.plan.volume)


class WriteSeed:
    name = "write_seed"
    label = "Keys, host name and addresses written for cloud-init"
    timeout_s = 180

    def do(self, context: StepContext) -> None:
        storage = context.storage
        if storage is None:
            return
        machine = held(context)
        if machine.is_on():
            return
        files = storage.seed_files()
        hypervisor, plan = machine.hypervisor, storage.plan
        # The one before it holds secrets as well.
        _delete(context, plan.seed_volume)
        hypervisor.write_volume(plan.disk_pool, plan.seed_volume, seed_image(files))
        storage.note_seed(digest_of(files))

    def undo(self, context: StepContext) -> None:
        if context.storage is not None:
            _delete(context, context.storage.plan.seed_volume)


class DeleteDisk:
    """After the domain is gone: nobody may have the disk open when it is wiped."""

    name = "delete_disk"
    label = "Disk wiped and deleted"
    timeout_s = 900

    def do(self, context: StepContext) -> None:
        if context.storage is not None:
            _delete(context, context.storage.plan.seed_volume)
            _delete(context, context.storage.plan.volume)

    def undo(self, context: StepContext) -> None:
        """What is wiped does not come back."""


def _delete(context: StepContext, volume: str) -> None:
    machine, storage = context.machine, context.storage
    if machine is None or storage is None:
        return
    if machine.is_on():
        raise HypervisorError(f"domain {machine.spec.uuid} still runs on {volume}")
    plan = storage.plan
    volume_work.delete(context, plan.disk_pool, volume, is_wiped=plan.is_wiped)
