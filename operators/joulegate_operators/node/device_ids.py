"""The ids under which device plugins hand out GPUs, in every form that is known.

NVIDIA's plugin: ``GPU-<uuid>``, ``MIG-<uuid>``, each with ``::<n>`` for a replica
(time slices, MPS); older ones ``MIG-GPU-<uuid>/<gi>/<ci>``. GKE's plugin:
``nvidia0``, ``nvidia0/gi3``, ``nvidia0/vgpu2``, ``nvidia0/gi3/vgpu1``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_PLUGIN: Final = re.compile(r"(?P<name>(GPU|MIG)-[0-9A-Za-z-]{4,})(::(?P<replica>[0-9]+))?")
_OLD_MIG: Final = re.compile(r"MIG-(?P<gpu>GPU-[0-9A-Za-z-]{4,})/(?P<gi>[0-9]+)/[0-9]+(::(?P<replica>[0-9]+))?")
_GKE: Final = re.compile(r"nvidia(?P<index>[0-9]+)(/gi(?P<gi>[0-9]+))?(/vgpu(?P<replica>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class DeviceId:
    """What an id says; exactly one of ``gpu``, ``mig`` and ``index`` is set. ``replica`` "" is the whole."""

    gpu: str | None = None
    mig: str | None = None
    index: int | None = None
    instance: int | None = None
    replica: str = ""


def parse_device_id(text: str) -> DeviceId | None:
    """Read an id; None where it is no GPU's."""
    if match := _OLD_MIG.fullmatch(text):
        return DeviceId(gpu=match["gpu"], instance=int(match["gi"]), replica=match["replica"] or "")
    if match := _PLUGIN.fullmatch(text):
        replica = match["replica"] or ""
        if match["name"].startswith("MIG-"):
            return DeviceId(mig=match["name"], replica=replica)
        return DeviceId(gpu=match["name"], replica=replica)
    if match := _GKE.fullmatch(text):
        instance = None if match["gi"] is None else int(match["gi"])
        return DeviceId(index=int(match["index"]), instance=instance, replica=match["replica"] or "")
    return None
