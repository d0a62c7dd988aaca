"""Which GPUs CUDA_VISIBLE_DEVICES leaves to a process.

Sources: NVIDIA, "CUDA C++ Programming Guide", CUDA Environment Variables; "NVIDIA Multi-Instance GPU User Guide",
Device Enumeration (``MIG-<uuid>``, and before driver 470 ``MIG-GPU-<uuid>/<GPU instance>/<compute instance>``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from joulegate.core.errors import UnavailableError
from joulegate.gpu import Device, GpuReader
from joulegate.gpu.sharing import Parts, SharingReader

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
ORDER: Final = "CUDA_DEVICE_ORDER"

_INDEX: Final = re.compile(r"[0-9]{1,6}")
_LEGACY_PART: Final = re.compile(r"MIG-(GPU-[0-9A-Za-z-]*)/([0-9]{1,3})/[0-9]{1,3}")


def visible(
    devices: tuple[Device, ...],
    environment: Mapping[str, str],
    parts_of: Callable[[Device], Parts | None] = lambda _: None,
) -> tuple[Device, ...]:
    """The devices that a process with this environment may use; all where CUDA_VISIBLE_DEVICES is not set.

    It holds, with commas between, indices, UUIDs or their beginnings, and MIG devices; as in CUDA, the first that names
    nothing, or more than one thing, ends the list, so that an empty list and -1 leave none. A MIG device stands for the
    board that it is on, once: NVML has no energy of a slice, and the board's flag ``mig`` says so. CUDA numbers boards
    of several models by their speed, which NVML does not know: unless CUDA_DEVICE_ORDER is PCI_BUS_ID, those that
    were chosen by index are flagged ``device_order_assumed``.
    """
    selection = environment.get(VISIBLE)
    if selection is None:
        return devices
    doubtful = len({device.model for device in devices}) > 1 and environment.get(ORDER) != "PCI_BUS_ID"
    chosen: dict[str, Device] = {}
    for word in (part.strip() for part in selection.split(",")):
        fitting = _named(word, devices, parts_of)
        if len(fitting) != 1:
            break
        (device,) = fitting
        assumed = ("device_order_assumed",) if doubtful and _INDEX.fullmatch(word) else ()
        chosen.setdefault(device.uuid, replace(device, flags=(*device.flags, *assumed)))
    return tuple(chosen.values())


def _named(word: str, devices: tuple[Device, ...], parts_of: Callable[[Device], Parts | None]) -> list[Device]:
    """What one word names: nothing, a board, or several, each once for every part of it that fits."""
    if _INDEX.fullmatch(word):
        return [device for device in devices if device.index == int(word)]
    if word.startswith("GPU-"):
        return [device for device in devices if device.uuid.startswith(word)]
    if not word.startswith("MIG-"):
        return []
    cut = [(device, parts.parts) for device in devices if (parts := parts_of(device)) is not None]
    if legacy := _LEGACY_PART.fullmatch(word):
        board, instance = legacy[1], int(legacy[2])
        return [
            device
            for device, parts in cut
            for part in parts
            if device.uuid.startswith(board) and part.instance == instance
        ]
    return [device for device, parts in cut for part in parts if part.uuid.startswith(word)]


def parts_by(reader: GpuReader) -> Callable[[Device], Parts | None]:
    """Asks a reader for the MIG devices of a board; none of a board that does not answer."""

    def parts_of(device: Device) -> Parts | None:
        try:
            return reader.parts(device) if isinstance(reader, SharingReader) else None
        except UnavailableError:
            return None

    return parts_of
