"""The driver's half that knows storage pools, volumes and network filters of libvirt."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import libvirt  # noqa: TID251 -- half of the driver
from lxml import etree

from inventory.exceptions import HypervisorError
from inventory.hypervisor import volume_bytes

_POOL_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="StorageMethods")


def translates(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """Let no libvirtError out of `method`."""

    @wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except libvirt.libvirtError as error:
            raise self.translated(error) from error

    return call


class StorageMethods:
    """The port's methods for pools and volumes, over the driver's connection."""

    _connection: libvirt.virConnect

    def translated(self, error: libvirt.libvirtError) -> HypervisorError:
        """Return our error for libvirt's."""
        raise NotImplementedError

    @translates
    def ensure_folder_pool(self, name: str, path: str) -> None:
        pool = self._pool(name)
        if pool is None:
            try:
                document = _folder_pool_xml(name, path)
                pool = self._connection.storagePoolDefineXML(document)
            except libvirt.libvirtError:
                # Another worker was first.
                pool = self._connection.storagePoolLookupByName(name)
        _start(pool)
        pool.setAutostart(True)

    def _pool(self, name: str) -> libvirt.virStoragePool | None:
        try:
            return self._connection.storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
                return None
            raise

    def _active_pool(self, name: str) -> libvirt.virStoragePool:
        pool = self._connection.storagePoolLookupByName(name)
        _start(pool)
        return pool

    def _volume(self, pool_name: str, name: str) -> libvirt.virStorageVol | None:
        """Look a volume up; the pool does not see files come until it is refreshed."""
        pool = self._pool(pool_name)
        if pool is None:
            return None
        _start(pool)
        found = _known_volume(pool, name)
        if found is None:
            _refresh(pool)
            found = _known_volume(pool, name)
        return found

    def _need_volume(self, pool: str, name: str) -> libvirt.virStorageVol:
        return self._active_pool(pool).storageVolLookupByName(name)

    @translates
    def volume(self, pool: str, volume: str) -> dict[str, Any] | None:
        # Not refreshed: libvirt refuses that while it copies or wipes anything there, and
        # it knows the volumes that it made itself.
        found = self._pool(pool)
        if found is None:
            return None
        _start(found)
        known = _known_volume(found, volume)
        if known is None:
            return None
        try:
            return _facts(known.XMLDesc())
        except libvirt.libvirtError:
            # Somebody deleted the file behind libvirt's back.
            _refresh(found)
            known = _known_volume(found, volume)
            return _facts(known.XMLDesc()) if known else None

    @translates
    def volume_names(self, pool: str) -> list[str]:
        found = self._pool(pool)
        if found is None:
            return []
        _start(found)
        return sorted(found.listVolumes())

    @translates
    def create_volume(
        self, pool: str, volume: str, capacity: int, form: str, backing: list[str]
    ) -> None:
        document = _volume_xml(volume, capacity, form)
        if backing:
            base_pool, base_volume, base_format = backing
            path = self._need_volume(base_pool, base_volume).path()
            document = _volume_xml(volume, capacity, form, (path, base_format))
        self._active_pool(pool).createXML(document)

    @translates
    def clone_volume(
        self, pool: str, volume: str, form: str, source: list[str]
    ) -> None:
        origin = self._need_volume(*source)
        document = _volume_xml(volume, origin.info()[1], form)
        self._active_pool(pool).createXMLFrom(document, origin)

    @translates
    def resize_volume(self, pool: str, volume: str, capacity: int) -> None:
        self._need_volume(pool, volume).resize(capacity)

    @translates
    def wipe_volume(self, pool: str, volume: str) -> None:
        found = self._volume(pool, volume)
        if found is None:
            return
        if volume_bytes.is_large(found):
            kept, name = self._active_pool(pool), volume_bytes.witness_of(volume)
            is_sealed = _known_volume(kept, name) is not None
            if is_sealed and volume_bytes.is_wiped(self._connection, found):
                return
            volume_bytes.seal(self._connection, found)
            # There already, or a pool that holds no empty volume.
            with suppress(libvirt.libvirtError):
                kept.createXML(empty_volume_xml(name))
        found.wipe()

    @translates
    def upload_volume(
        self, pool: str, volume: str, source: str, offset: int, length: int
    ) -> None:
        with Path(source).open("rb") as file:
            file.seek(offset)
            found = self._need_volume(pool, volume)
            volume_bytes.send(self._connection, found, file.read(length), offset)

    @translates
    def write_volume(self, pool: str, volume: str, content: str) -> None:
        # Bytes come as hexadecimal digits through the child's pipe.
        data = bytes.fromhex(content)
        self._active_pool(pool).createXML(_volume_xml(volume, len(data), "raw"))
        found = self._need_volume(pool, volume)
        volume_bytes.send(self._connection, found, data, 0)

    @translates
    def read_volume_tail(self, pool: str, volume: str, max_bytes: int) -> bytes:
        found = self._volume(pool, volume)
        if found is None:
            return b""
        size = found.info()[1]
        offset = max(0, size - max_bytes)
        if size == offset:
            return b""
        return volume_bytes.receive(self._connection, found, offset, size - offset)

    @translates
    def delete_volume(self, pool: str, volume: str) -> None:
        found = self._volume(pool, volume)
        if found is None:
            return
        witness = _known_volume(
            self._active_pool(pool), volume_bytes.witness_of(volume)
        )
        # In this order: it must speak for no later volume of the name.
        for gone in (witness, found):
            if gone is not None:
                _delete(gone)

    @translates
    def define_filter(self, xml: str) -> None:
        self._connection.nwfilterDefineXML(xml)

    @translates
    def undefine_filter(self, name: str) -> None:
        try:
            self._connection.nwfilterLookupByName(name).undefine()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NWFILTER:
                raise

    @translates
    def filter_names(self) -> list[str]:
        return sorted(each.name() for each in self._connection.listAllNWFilters())


def _known_volume(
    pool: libvirt.virStoragePool, name: str
) -> libvirt.virStorageVol | None:
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return None
        raise


def _delete(volume: libvirt.virStorageVol) -> None:
    try:
        volume.delete()
    except libvirt.libvirtError as error:
        # Somebody else was first.
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise


def _start(pool: libvirt.virStoragePool) -> None:
    """Have the pool active, whoever starts it: two workers may want it at once."""
    for pause_s in _POOL_PAUSES_S:
        if pool.isActive():
            return
        try:
            pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
        except libvirt.libvirtError:
            time.sleep(pause_s)
    if not pool.isActive():
        pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)


def _refresh(pool: libvirt.virStoragePool) -> None:
    """Refresh a pool, which libvirt refuses while anybody reads a volume of it."""
    for pause_s in _POOL_PAUSES_S:
        try:
            pool.refresh()
        except libvirt.libvirtError as error:
            # "has asynchronous jobs running" has no code of its own.
            if error.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR:
                raise
        else:
            return
        time.sleep(pause_s)
    pool.refresh()


def _folder_pool_xml(name: str, path: str) -> str:
    pool = etree.Element("pool", type="dir")
    etree.SubElement(pool, "name").text = name
    target = etree.SubElement(pool, "target")
    etree.SubElement(target, "path").text = path
    return etree.tostring(pool, encoding="unicode")


def _volume_xml(
    name: str, capacity: int, form: str, backing: tuple[str, str] | None = None
) -> str:
    """Return a volume's document. backing: path and format of what it is based on.

    Allocation 0: room is taken as it is written (libvirt formatstorage "allocation").
    """
    volume = etree.Element("volume")
    etree.SubElement(volume, "name").text = name
    etree.SubElement(volume, "capacity").text = str(capacity)
    etree.SubElement(volume, "allocation").text = "0"
    target = etree.SubElement(volume, "target")
    etree.SubElement(target, "format", type=form)
    if backing is not None:
        path, base_format = backing
        store = etree.SubElement(volume, "backingStore")
        etree.SubElement(store, "path").text = path
        etree.SubElement(store, "format", type=base_format)
    return etree.tostring(volume, encoding="unicode")


def empty_volume_xml(name: str) -> str:
    """Return the document of a raw volume of no bytes."""
    return _volume_xml(name, 0, "raw")


def _facts(document: str) -> dict[str, Any]:
    root = etree.fromstring(document)
    form = root.find("target/format")
    return {
        "capacity": int(root.findtext("capacity") or 0),
        "allocation": int(root.findtext("allocation") or 0),
        "format": form.get("type", "raw") if form is not None else "raw",
        "backing_path": root.findtext("backingStore/path") or "",
    }
