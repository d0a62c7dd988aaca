"""Accelerators of dynamic resource allocation (DRA): what the claims of a pod ask for.

Fields as of resource.k8s.io/v1 (``exactly``, ``firstAvailable``) and of its betas,
which have the fields of ``exactly`` in the request itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from joulegate.core.workloads.demand import Unresolved
from joulegate.core.workloads.reading import Manifest, items, mapping, name, optional, whole
from joulegate.core.workloads.surroundings import Reference, Surroundings, look_up

API_VERSION: Final = "resource.k8s.io/v1"
_GPUS: Final = frozenset({"gpu.nvidia.com", "mig.nvidia.com", "vfio.gpu.nvidia.com"})
"""Device classes of NVIDIA's driver. Which profile a slice has only its selectors say, so it counts whole."""

_NO_GPUS: Final = re.compile(r"compute-domain-.*\.nvidia\.com")  # channels between GPUs, which are claimed beside them
_PRODUCT: Final = re.compile(r"productName\s*==\s*[\"']([^\"']{1,100})[\"']")


@dataclass(frozen=True, slots=True)
class Claimed:
    """GPUs of one claim; ``shared`` where all pods of a template name the same one."""

    boards: Fraction
    gpu_model: str | None
    shared: bool


def of_pod(pod: Manifest, where: str, namespace: str, around: Surroundings) -> Iterator[Claimed]:
    """The claims of a pod that ask for GPUs."""
    for number, claim in enumerate(items(pod.get("resourceClaims"), f"{where}.resourceClaims")):
        place = f"{where}.resourceClaims[{number}]"
        named, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if (named is None) == (template is None):
            raise Unresolved(f"{place} names neither or both of a claim and a template")
        kind = "ResourceClaimTemplate" if named is None else "ResourceClaim"
        wanted = name(template if named is None else named, place)
        found = look_up(around, Reference(API_VERSION, kind, wanted, namespace))
        spec = optional(found.get("spec"), f"{kind} {wanted}: spec")
        if named is None:
            spec = optional(spec.get("spec"), f"{kind} {wanted}: spec.spec")
        yield from _devices(spec, f"{kind} {wanted}", shared=named is not None)


def _devices(spec: Manifest, where: str, *, shared: bool) -> Iterator[Claimed]:
    devices = optional(spec.get("devices"), f"{where}: devices")
    for request in items(devices.get("requests"), f"{where}: devices.requests"):
        alternatives = list(items(request.get("firstAvailable"), f"{where}: firstAvailable"))
        if not alternatives:
            exactly = request.get("exactly")
            alternatives = [request if exactly is None else mapping(exactly, f"{where}: exactly")]
        found = [_of_request(each, where) for each in alternatives]
        boards, model = max(found, key=lambda each: each[0])  # which of them it will be nobody knows yet
        if boards:
            yield Claimed(Fraction(boards), model, shared)


def _of_request(request: Manifest, where: str) -> tuple[int, str | None]:
    device_class = name(request.get("deviceClassName"), f"{where}: deviceClassName")
    if request.get("adminAccess") is True or _NO_GPUS.fullmatch(device_class):
        return 0, None
    if device_class not in _GPUS:
        raise Unresolved(f"{where}: it is not known whether devices of the class {device_class} are GPUs")
    if request.get("allocationMode") not in (None, "ExactCount"):
        raise Unresolved(f"{where}: how many devices it takes is not said; use allocationMode ExactCount")
    return whole(request, "count", where, 1), _model(request, where)


def _model(request: Manifest, where: str) -> str | None:
    for selector in items(request.get("selectors"), f"{where}: selectors"):
        expression = optional(selector.get("cel"), f"{where}: cel").get("expression")
        match = _PRODUCT.search(expression) if isinstance(expression, str) else None
        if match:
            return match.group(1)
    return None
