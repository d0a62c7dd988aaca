"""Bodies of what the operator sends: requests for holds, their steps, and lists of live objects.

A hold belongs to a root, the top-most governed object of a cluster, and is named
by that object's uid. Standard library only; see :mod:`joulegate.wire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group
from joulegate.schema import STRICT, Count, Identity, Items, Line, Moment, Quantity, Text

LONGEST_NS: Final = 366 * 86_400 * 1_000_000_000
"""Longest time that a demand gives: a year."""

MOST_BOARDS: Final = 100_000
OBJECTS_MOST: Final = 20_000
"""Most objects of one list; the body's own limit of 8 MiB is reached about there."""

PODS_MOST: Final = 10_000

_SHARE: Final = r"^[1-9][0-9]{0,5}(/[1-9][0-9]{0,2})?$"

Uid = Annotated[str, Text(253, r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
"""The uid of an object in a cluster."""

Duration = Annotated[int, Quantity(1, LONGEST_NS)]


class HoldKind(StrEnum):
    """Why a hold is asked for by the operator.

    ``admitted``: the work is about to run (a queue is opened, work is resumed);
    ``adopted``: it runs already, so it is held for even beyond the limit;
    ``extended``: more than what is held, decided like a new request;
    ``renewed``: the same for open-ended work, held even where it does not fit.
    """

    ADMITTED = "admitted"
    ADOPTED = "adopted"
    EXTENDED = "extended"
    RENEWED = "renewed"


@dataclass(frozen=True, slots=True)
class GroupBody:
    """Replicas that are alike. ``accelerators`` of each are whole boards (`2`) or a share of one (`3/7`)."""

    __pydantic_config__ = STRICT
    accelerators: Annotated[str, Text(12, _SHARE)]
    replicas: Annotated[int, Count(1, MOST_BOARDS)] = 1
    gpu_model: Line | None = None


@dataclass(frozen=True, slots=True)
class DemandBody:
    """What an object asks for: boards by model, and the time where it is declared or bounded."""

    __pydantic_config__ = STRICT
    kind: Kind
    groups: Annotated[tuple[GroupBody, ...], Items(100)]
    added_kind: Kind | None = None
    model: Line | None = None
    budget: Line | None = None
    declared_ns: Duration | None = None
    deadline_ns: Duration | None = None
    suspended: bool = False
    open_ended: bool = False


@dataclass(frozen=True, slots=True)
class LabelBody:
    """A label of a namespace."""

    __pydantic_config__ = STRICT
    key: Line
    value: Annotated[str, Text(63, r"^[A-Za-z0-9._-]*$")]


Labels = Annotated[tuple[LabelBody, ...], Items(256)]


@dataclass(frozen=True, slots=True)
class HoldRequestBody:
    """``POST /v1/holds/{uid}/request``: hold for this object what its demand is expected to draw.

    ``resource`` is the plural of the object's kind with its group, as in admission (`jobs.batch`, `pods`).
    An extension or a renewal holds for ``demand`` on top of what the root holds,
    once for each ``extension``, an id that its sender makes. A renewal may begin later, at ``starts_at``.
    With ``dry_run`` it is decided, and nothing is held or written.
    """

    __pydantic_config__ = STRICT
    resource: Line
    namespace: Line
    name: Line
    demand: DemandBody
    cluster: Line | None = None
    origin: HoldKind = HoldKind.ADMITTED
    extension: Identity | None = None
    subject: Line | None = None
    namespace_labels: Labels | None = None
    starts_at: Moment | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class HoldStepBody:
    """``POST /v1/holds/{uid}/confirm``: the object exists."""

    __pydantic_config__ = STRICT
    cluster: Line | None = None


@dataclass(frozen=True, slots=True)
class HoldReleaseBody:
    """``POST /v1/holds/{uid}/release``: the work and its last pod have ended, now unless ``ended_at`` says when."""

    __pydantic_config__ = STRICT
    cluster: Line | None = None
    ended_at: Moment | None = None


@dataclass(frozen=True, slots=True)
class PodBody:
    """A pod of an object; ``ended_at`` null while it runs.

    ``demand`` is the pod's own; null takes an even share of its object's. A
    ``terminating`` pod does not count beside the one that replaces it.
    """

    __pydantic_config__ = STRICT
    uid: Uid
    node: Line | None = None
    ended_at: Moment | None = None
    demand: DemandBody | None = None
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """A live object. ``demand`` null is not governed, or not known.

    ``surge`` is how many pods more than its replicas its update strategy may run for a while.
    """

    __pydantic_config__ = STRICT
    uid: Uid
    namespace: Line
    name: Line
    owner_uid: Uid | None = None
    demand: DemandBody | None = None
    pods: Annotated[tuple[PodBody, ...], Items(PODS_MOST)] = ()
    surge: Annotated[int, Count(0, MOST_BOARDS)] = 0
    created_at: Moment | None = None


@dataclass(frozen=True, slots=True)
class NamespaceBody:
    """A namespace and its labels, for budgets that select by labels."""

    __pydantic_config__ = STRICT
    name: Line
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class InventoryBody:
    """``PUT /v1/inventories/{cluster}/{kind}``: a list of one kind, begun at ``begun_at``.

    Only a complete list proves that something is not there. A long one comes in ``parts`` bodies with the same
    ``begun_at``, one after the other, numbered by ``part`` from 0; the last one proves it.
    """

    __pydantic_config__ = STRICT
    begun_at: Moment
    complete: bool
    objects: Annotated[tuple[ObjectBody, ...], Items(OBJECTS_MOST)]
    namespaces: Annotated[tuple[NamespaceBody, ...], Items(OBJECTS_MOST)] = ()
    part: Annotated[int, Count(0, OBJECTS_MOST)] = 0
    parts: Annotated[int, Count(1, OBJECTS_MOST)] = 1


@dataclass(frozen=True, slots=True)
class AdoptionBody:
    """``PUT /v1/adoptions/{cluster}``: an operator is there.

    The newest list of every kind that it told of began after ``told_since``, None before all were told once.
    """

    __pydantic_config__ = STRICT
    told_since: Moment | None = None


@dataclass(frozen=True, slots=True)
class ApprovalBody:
    """``POST /v1/exceptions/{id}/approval``: by the caller; the operator may say who approved in the cluster."""

    __pydantic_config__ = STRICT
    approved_by: Line | None = None


def demand_of(body: DemandBody) -> Demand:
    """The demand of a body that was read; raises :class:`InvalidInputError` for more boards than anybody has."""
    demand = Demand(
        kind=body.kind,
        groups=tuple(Group(part.gpu_model, Fraction(part.accelerators), part.replicas) for part in body.groups),
        added_kind=body.added_kind,
        model=body.model,
        budget=body.budget,
        declared_ns=body.declared_ns,
        deadline_ns=body.deadline_ns,
        suspended=body.suspended,
        open_ended=body.open_ended,
    )
    if demand.accelerators > MOST_BOARDS:
        raise InvalidInputError(f"asks for more than {MOST_BOARDS} accelerators at once", "demand.groups")
    return demand


def demand_body(demand: Demand) -> dict[str, Any]:
    """The body of a demand, as JSON."""
    groups = [
        {"accelerators": str(group.accelerators), "replicas": group.replicas, "gpu_model": group.gpu_model}
        for group in demand.groups
    ]
    return {
        "kind": demand.kind.value,
        "groups": groups,
        "added_kind": demand.added_kind.value if demand.added_kind else None,
        "model": demand.model,
        "budget": demand.budget,
        "declared_ns": None if demand.declared_ns is None else str(demand.declared_ns),
        "deadline_ns": None if demand.deadline_ns is None else str(demand.deadline_ns),
        "suspended": demand.suspended,
        "open_ended": demand.open_ended,
    }
