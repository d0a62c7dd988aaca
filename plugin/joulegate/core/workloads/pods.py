"""Accelerators of a pod template: containers, init phases, sidecars, slices, claims, and the model of GPU.

Facts of Kubernetes: extended resources, and the rule for init containers
(KEP-753: a sidecar counts with everything that starts after it).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from joulegate.core.accelerators import mig_fraction, nameplate
from joulegate.core.workloads import claims
from joulegate.core.workloads.demand import Group, Unresolved
from joulegate.core.workloads.reading import LONGEST_NAME, MOST, Manifest, items, optional
from joulegate.core.workloads.surroundings import Node, Surroundings

GPU_PRODUCT: Final = "nvidia.com/gpu.product"
_BOARD: Final = frozenset({"nvidia.com/gpu", "nvidia.com/gpu.shared"})
_MIG: Final = re.compile(r"nvidia\.com/mig-([a-z0-9.+]+?)(?:\.shared)?")
_OTHER_ACCELERATORS: Final = re.compile(
    r"(amd\.com/gpu|google\.com/tpu|gpu\.intel\.com/|habana\.ai/|aws\.amazon\.com/neuron).*"
)
_COUNT: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template: its spec, where it stands, the namespace that its claims are in."""

    spec: Manifest
    where: str
    namespace: str


def groups_of(template: Template, replicas: int, around: Surroundings) -> tuple[Group, ...]:
    """The groups of ``replicas`` pods of a template; none where it asks for no accelerator."""
    spec, where = template.spec, template.where
    own = resources_of(spec, where)
    boards = sum((_boards(name, count) for name, count in own.items()), Fraction(0))
    model = _gpu_model(spec, where)
    if boards and model is None:
        model = _only_model(spec, own, around)
    found = [Group(model, boards, replicas)] if boards else []
    for claim in claims.of_pod(spec, where, template.namespace, around):
        times = 1 if claim.shared else replicas  # a claim that is named belongs to all of the pods together
        found.append(Group(model or claim.gpu_model, claim.boards, times))
    if sum(group.accelerators * group.replicas for group in found) > MOST:
        raise Unresolved(f"{where} asks for more than {MOST} accelerators")
    return tuple(found)


def resources_of(pod: Manifest, where: str) -> Counter[str]:
    """Accelerators of a pod by resource name: what runs together, or the largest init phase."""
    together: Counter[str] = Counter()
    for container in items(pod.get("containers"), f"{where}.containers"):
        together += of_container(container, where)
    sidecars: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for container in items(pod.get("initContainers"), f"{where}.initContainers"):
        own = of_container(container, where)
        if container.get("restartPolicy") == "Always":
            sidecars += own
            own = Counter()
        largest |= sidecars + own
    return largest | (together + sidecars)


def of_container(container: Manifest, where: str) -> Counter[str]:
    """Accelerators of a container by resource name."""
    return of_resources(optional(container.get("resources"), f"{where}: resources"), where)


def of_resources(resources: Manifest, where: str) -> Counter[str]:
    """Accelerators among requirements. Limit and request of one are equal; either may be left out."""
    found: Counter[str] = Counter()
    for part in ("limits", "requests"):
        for name, amount in optional(resources.get(part), f"{where}: {part}").items():
            if _is_accelerator(name):
                found[name] = max(found[name], _amount(name, amount))
    return found


def fitting(pod: Manifest, own: Mapping[str, int], around: Surroundings) -> list[Node] | None:
    """The nodes that a pod may be put on by its selector and its accelerators; None outside a cluster."""
    nodes = around.nodes()
    if nodes is None:
        return None
    selector = optional(pod.get("nodeSelector"), "nodeSelector")
    return [
        node
        for node in nodes
        if all(node.labels.get(key) == value for key, value in selector.items())
        and all(node.accelerators.get(name, 0) >= count for name, count in own.items())
    ]


def boards_of(own: Mapping[str, int]) -> Fraction:
    """Accelerators by resource name in whole boards."""
    return sum((_boards(name, count) for name, count in own.items()), Fraction(0))


def _only_model(pod: Manifest, own: Mapping[str, int], around: Surroundings) -> str | None:
    """The model of the nodes that fit, where they have one and the same."""
    models = {node.labels.get(GPU_PRODUCT) for node in fitting(pod, own, around) or ()}
    return models.pop() if len(models) == 1 else None


def _is_accelerator(name: str) -> bool:
    if _OTHER_ACCELERATORS.fullmatch(name):
        raise Unresolved(f"{name[:LONGEST_NAME]} is an accelerator whose power is not known")
    return name in _BOARD or name.startswith("nvidia.com/mig-")


def _amount(name: str, amount: object) -> int:
    text = str(amount) if isinstance(amount, int) and not isinstance(amount, bool) else amount
    if not isinstance(text, str) or not _COUNT.fullmatch(text):
        raise Unresolved(f"{name[:LONGEST_NAME]}: {str(amount)[:20]!r} is not a whole number")
    return int(text)


def _boards(name: str, count: int) -> Fraction:
    if name in _BOARD:  # how many share a board the manifest does not say, so a share counts whole
        return Fraction(count)
    match = _MIG.fullmatch(name)
    share = mig_fraction(match.group(1).replace("+", ".")) if match else None
    if share is None:
        raise Unresolved(f"{name[:LONGEST_NAME]} is not a MIG profile that is known")
    return share * count


def _gpu_model(pod: Manifest, where: str) -> str | None:
    """The GPU model that a pod is bound to; of several the one that draws most."""
    selector = optional(pod.get("nodeSelector"), f"{where}.nodeSelector")
    exact = selector.get(GPU_PRODUCT)
    models = [exact] if isinstance(exact, str) and exact else list(_models_by_affinity(pod, where))
    known = [model for model in models if nameplate(model) is not None]
    return max(known or models, key=_watts, default=None)


def _watts(model: str) -> tuple[int, str]:
    plate = nameplate(model)
    return (plate.mw if plate else 0), model


def _models_by_affinity(pod: Manifest, where: str) -> Iterator[str]:
    current: object = pod.get("affinity")
    for step in ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"):
        current = optional(current, f"{where}.affinity").get(step)
    required = optional(current, f"{where}.affinity")
    for term in items(required.get("nodeSelectorTerms"), f"{where}.affinity"):
        for rule in items(term.get("matchExpressions"), f"{where}.affinity"):
            if rule.get("key") == GPU_PRODUCT and rule.get("operator") == "In":
                values = rule.get("values")
                yield from (v for v in values if isinstance(v, str)) if isinstance(values, list) else ()
