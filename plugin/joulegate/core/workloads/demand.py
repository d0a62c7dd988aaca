"""What an object asks for, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from joulegate.core.accelerators import canonical_model
from joulegate.core.errors import JoulegateError
from joulegate.core.records import Kind


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
    ``open_ended`` work runs until somebody ends it (serving, notebooks, and what
    Kubernetes starts again for ever).
    """

    kind: Kind
    groups: tuple[Group, ...]
    added_kind: Kind | None = None
    model: str | None = None
    budget: str | None = None
    declared_ns: int | None = None
    deadline_ns: int | None = None
    suspended: bool = False
    open_ended: bool = field(default=False, metadata={"later": True})

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
