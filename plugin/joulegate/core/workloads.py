"""Any Kubernetes manifest as a demand: accelerators x model x replicas x time, or why not.

A manifest comes from outside and may be anything. What cannot be read raises
:class:`Unresolved`, never a smaller demand: work that nobody can size is
undecidable, and its budgets say what happens to it. Unknown fields are ignored.
Facts of Kubernetes: extended resources, and the rule for init containers
(KEP-753: a sidecar counts with everything that starts after it).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from joulegate.core.accelerators import canonical_model, mig_fraction, nameplate
from joulegate.core.errors import InvalidInputError, JoulegateError
from joulegate.core.periods import parse_duration_ns
from joulegate.core.records import Kind
from joulegate.core.units import NS_PER_SECOND

Manifest = Mapping[str, Any]  # JSON: every key is text

ANNOTATION: Final = "joulegate.io/"
GPU_PRODUCT: Final = "nvidia.com/gpu.product"
_BOARD: Final = frozenset({"nvidia.com/gpu", "nvidia.com/gpu.shared"})
_MIG: Final = re.compile(r"nvidia\.com/mig-([a-z0-9.+]+?)(?:\.shared)?")
_OTHER_ACCELERATORS: Final = re.compile(
    r"(amd\.com/gpu|google\.com/tpu|gpu\.intel\.com/|habana\.ai/|aws\.amazon\.com/neuron).*"
)
_COUNT: Final = re.compile(r"[0-9]{1,6}")
_MOST: Final = 100_000  # accelerators or replicas of one object; more is a slip, not a demand
_LONGEST_S: Final = 2**31 - 1  # as Kubernetes validates it
_LONGEST_NAME: Final = 253

_POD: Final = ("v1", "Pod")
_JOB: Final = ("batch/v1", "Job")
_WORKLOAD_GROUPS: Final = frozenset({"apps", "batch"})
_SERVING: Final = frozenset({"InferenceService", "LLMInferenceService", "RayService"})
_WORKBENCHES: Final = frozenset({"Notebook", "Workspace"})
_PODS_IN_CORE: Final = frozenset({"Pod", "ReplicationController", "PodTemplate"})


class Unresolved(JoulegateError):  # noqa: N818 -- a state of the demand, as `Undecidable` is one of the verdict
    """The demand of a manifest cannot be read; the message says which part and why."""

    code = "undecidable"


@dataclass(frozen=True, slots=True)
class Group:
    """Replicas that are alike, running at once.

    ``accelerators`` of each in whole boards (a MIG slice is its share of the
    compute slices); ``gpu_model`` None where the manifest names none.
    """

    gpu_model: str | None
    accelerators: Fraction
    replicas: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What an object asks for. ``groups`` is empty where it asks for no accelerator.

    ``declared_ns`` is the author's expectation, ``deadline_ns`` the platform's
    limit, both of the whole object. ``suspended`` work runs nothing yet.
    """

    kind: Kind
    groups: tuple[Group, ...]
    added_kind: Kind | None = None
    model: str | None = None
    budget: str | None = None
    declared_ns: int | None = None
    deadline_ns: int | None = None
    suspended: bool = False

    @property
    def accelerators(self) -> Fraction:
        """Whole boards in use at once."""
        return sum((group.accelerators * group.replicas for group in self.groups), Fraction(0))

    @property
    def time_ns(self) -> int | None:
        """The time that the manifest itself gives, None where it gives none."""
        return self.deadline_ns if self.declared_ns is None else self.declared_ns

    def within(self, held: Demand) -> bool:
        """Whether this is no more than ``held``, in boards of every model and in time."""
        if self.time_ns != held.time_ns and (
            self.time_ns is None or held.time_ns is None or self.time_ns > held.time_ns
        ):
            return False
        return self.fits_on(held)

    def fits_on(self, held: Demand) -> bool:
        """Whether the boards of ``held`` are enough, model by model, however long it takes."""
        theirs = held.by_model()
        return all(boards <= theirs.get(model, 0) for model, boards in self.by_model().items())

    def by_model(self) -> dict[str | None, Fraction]:
        """Boards in use at once, by the model's canonical name."""
        boards: dict[str | None, Fraction] = {}
        for group in self.groups:
            model = None if group.gpu_model is None else canonical_model(group.gpu_model)
            boards[model] = boards.get(model, Fraction(0)) + group.accelerators * group.replicas
        return boards


class Stage(StrEnum):
    """What this version can do with a kind of object."""

    RESOLVED = "resolved"
    PODLESS = "podless"
    LATER = "later"


def stage_of(api_version: str, kind: str) -> Stage:
    """Whether a kind is resolved, runs no pods (kinds of Kubernetes itself), or is not read yet."""
    if (api_version, kind) in (_POD, _JOB):
        return Stage.RESOLVED
    group = api_version.rpartition("/")[0]
    if group == "":
        return Stage.LATER if kind in _PODS_IN_CORE else Stage.PODLESS
    # Groups of Kubernetes itself have no dot or end in .k8s.io; SIG projects such as JobSet end in .x-k8s.io.
    built_in = "." not in group or group.endswith(".k8s.io")
    return Stage.PODLESS if built_in and group not in _WORKLOAD_GROUPS else Stage.LATER


def kind_of_work(kind: str) -> Kind:
    """What an object is for by its own kind, before its author says anything."""
    if kind in _SERVING:
        return Kind.INFERENCE
    return Kind.OTHER if kind in _WORKBENCHES else Kind.TRAINING


def demand_of(manifest: object) -> Demand:
    """Read the demand of a manifest; raises :class:`Unresolved` with the reason."""
    whole = _mapping(manifest, "the object")
    version, kind = whole.get("apiVersion"), whole.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        raise Unresolved("the object has no apiVersion and kind")
    stage = stage_of(version, kind)
    if stage is Stage.PODLESS:
        return Demand(Kind.OTHER, ())
    if stage is Stage.LATER:
        raise Unresolved(f"{kind[:_LONGEST_NAME]} of {version[:_LONGEST_NAME]} cannot be resolved")
    spec = _mapping(whole.get("spec"), "spec")
    return _pod(whole, spec) if kind == "Pod" else _job(whole, spec)


def _pod(pod: Manifest, spec: Manifest) -> Demand:
    deadline = _seconds(spec, "spec.activeDeadlineSeconds")
    return _demand(_annotations(pod), _group(spec, "spec", 1), deadline, suspended=False)


def _job(job: Manifest, spec: Manifest) -> Demand:
    template = _mapping(spec.get("template"), "spec.template")
    pod = _mapping(template.get("spec"), "spec.template.spec")
    parallelism = _whole(spec, "parallelism", "spec", 1)
    completions = _whole(spec, "completions", "spec", parallelism)
    at_once = min(parallelism, completions)
    deadline = _seconds(spec, "spec.activeDeadlineSeconds")
    of_pod = _seconds(pod, "spec.template.spec.activeDeadlineSeconds")
    if of_pod is not None and at_once:  # pods come one wave after the other
        waves = of_pod * -(-completions // at_once)
        deadline = waves if deadline is None else min(deadline, waves)
    suspend = spec.get("suspend")
    if suspend not in (None, True, False):
        raise Unresolved("spec.suspend is neither true nor false")
    return _demand(
        {**_annotations(template), **_annotations(job)},
        _group(pod, "spec.template.spec", at_once or parallelism or 1),
        deadline,
        suspended=bool(suspend) or at_once == 0,
    )


def _demand(
    annotations: Mapping[str, str],
    groups: tuple[Group, ...],
    deadline_ns: int | None,
    *,
    suspended: bool,
) -> Demand:
    added = _annotation(annotations, "kind")
    if added is not None and added not in set(Kind):
        raise Unresolved(f"{ANNOTATION}kind: {added!r} is not one of {', '.join(Kind)}")
    return Demand(
        kind=Kind.TRAINING,  # of a Pod and a Job
        groups=groups,
        added_kind=None if added is None else Kind(added),
        model=_annotation(annotations, "model"),
        budget=_annotation(annotations, "budget"),
        declared_ns=_declared_ns(annotations),
        deadline_ns=deadline_ns,
        suspended=suspended,
    )


def _declared_ns(annotations: Mapping[str, str]) -> int | None:
    text = _annotation(annotations, "expected-duration")
    if text is None:
        return None
    try:
        duration_ns = parse_duration_ns(text, ANNOTATION + "expected-duration")
    except InvalidInputError as error:
        raise Unresolved(str(error)) from error
    if duration_ns == 0:
        raise Unresolved(f"{ANNOTATION}expected-duration is nothing")
    return duration_ns


def _group(pod: Manifest, where: str, replicas: int) -> tuple[Group, ...]:
    """The one group of a pod template, or none where it asks for no accelerator."""
    if pod.get("resourceClaims") not in (None, []):
        raise Unresolved(f"{where}.resourceClaims refers to claims that only the cluster can resolve")
    boards = sum((_boards(name, count) for name, count in _of_pod(pod, where).items()), Fraction(0))
    if not boards:
        return ()
    if boards * replicas > _MOST:
        raise Unresolved(f"{where} asks for more than {_MOST} accelerators")
    return (Group(_gpu_model(pod, where), boards, replicas),)


def _of_pod(pod: Manifest, where: str) -> Counter[str]:
    """Accelerators of a pod by resource name: what runs together, or the largest init phase."""
    together: Counter[str] = Counter()
    for container in _containers(pod, "containers", where):
        together += _of_container(container, where)
    sidecars: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for container in _containers(pod, "initContainers", where):
        own = _of_container(container, where)
        if container.get("restartPolicy") == "Always":
            sidecars += own
            own = Counter()
        largest |= sidecars + own
    return largest | (together + sidecars)


def _of_container(container: Manifest, where: str) -> Counter[str]:
    resources = _optional(container.get("resources"), f"{where}: resources")
    found: Counter[str] = Counter()
    for part in ("limits", "requests"):  # equal for extended resources; either may be left out
        for name, amount in _optional(resources.get(part), f"{where}: {part}").items():
            if _is_accelerator(name):
                found[name] = max(found[name], _amount(name, amount))
    return found


def _is_accelerator(name: str) -> bool:
    if _OTHER_ACCELERATORS.fullmatch(name):
        raise Unresolved(f"{name[:_LONGEST_NAME]} is an accelerator whose power is not known")
    return name in _BOARD or name.startswith("nvidia.com/mig-")


def _amount(name: str, amount: object) -> int:
    text = str(amount) if isinstance(amount, int) and not isinstance(amount, bool) else amount
    if not isinstance(text, str) or not _COUNT.fullmatch(text):
        raise Unresolved(f"{name[:_LONGEST_NAME]}: {str(amount)[:20]!r} is not a whole number")
    return int(text)


def _boards(name: str, count: int) -> Fraction:
    if name in _BOARD:  # how many share a board the manifest does not say, so a share counts whole
        return Fraction(count)
    match = _MIG.fullmatch(name)
    share = mig_fraction(match.group(1).replace("+", ".")) if match else None
    if share is None:
        raise Unresolved(f"{name[:_LONGEST_NAME]} is not a MIG profile that is known")
    return share * count


def _gpu_model(pod: Manifest, where: str) -> str | None:
    """The GPU model that a pod is bound to; of several the one that draws most."""
    selector = _optional(pod.get("nodeSelector"), f"{where}.nodeSelector")
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
        current = _optional(current, f"{where}.affinity").get(step)
    required = _optional(current, f"{where}.affinity")
    for term in _items(required.get("nodeSelectorTerms"), f"{where}.affinity"):
        for rule in _items(term.get("matchExpressions"), f"{where}.affinity"):
            if rule.get("key") == GPU_PRODUCT and rule.get("operator") == "In":
                values = rule.get("values")
                yield from (v for v in values if isinstance(v, str)) if isinstance(values, list) else ()


def _annotations(source: Manifest) -> dict[str, str]:
    metadata = _optional(source.get("metadata"), "metadata")
    annotations = _optional(metadata.get("annotations"), "metadata.annotations")
    return {key: value for key, value in annotations.items() if isinstance(value, str)}


def _annotation(annotations: Mapping[str, str], name: str) -> str | None:
    text = annotations.get(ANNOTATION + name)
    if text is not None and (not text.isprintable() or not 0 < len(text) <= _LONGEST_NAME):
        raise Unresolved(f"{ANNOTATION}{name} is empty, too long or not printable")
    return text


def _containers(pod: Manifest, name: str, where: str) -> Iterator[Manifest]:
    return _items(pod.get(name), f"{where}.{name}")


def _items(value: object, where: str) -> Iterator[Manifest]:
    if value is not None and not isinstance(value, list):
        raise Unresolved(f"{where} is not a list")
    return (_mapping(item, where) for item in value or ())


def _optional(value: object, where: str) -> Manifest:
    return {} if value is None else _mapping(value, where)


def _mapping(value: object, where: str) -> Manifest:
    if not isinstance(value, Mapping):
        raise Unresolved(f"{where} is not an object")
    return value


def _whole(spec: Manifest, name: str, where: str, default: int) -> int:
    value = spec.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise Unresolved(f"{where}.{name} is not a whole number from 0 to {_MOST}")
    return value


def _seconds(spec: Manifest, where: str) -> int | None:
    value = spec.get("activeDeadlineSeconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LONGEST_S:
        raise Unresolved(f"{where} is not a whole number of seconds from 1 to {_LONGEST_S}")
    return value * NS_PER_SECOND
