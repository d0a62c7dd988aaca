"""What a report is of: the whole organisation, or the records of one team, namespace, pipeline, model or run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.tallies import Fact

ORGANISATION: Final = "organisation"
NAMESPACE: Final = "namespace"


class ScopeKind(StrEnum):
    """What a name in a scope names; namespaces have a field of their own, because rights go by them."""

    TEAM = "team"
    PIPELINE = "pipeline"
    MODEL = "model"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Scope:
    """One team, pipeline, model or run.

    A team is a budget: what was charged to it, or to a budget below it. To a model belong
    all its runs, the failed and the cancelled ones too (SCI for AI counts them).
    """

    kind: ScopeKind
    name: str

    def holds(self, fact: Fact) -> bool:
        """Whether a record belongs to it."""
        record = fact.record
        if self.kind is ScopeKind.TEAM:
            return self.name in fact.budgets
        if self.kind is ScopeKind.PIPELINE:
            return record.run.pipeline == self.name
        return self.name == (record.model if self.kind is ScopeKind.MODEL else record.run.uid)

    def __str__(self) -> str:
        """As it is asked for."""
        return f"{self.kind.value}:{self.name}"


def parse_scope(text: str) -> tuple[str | None, Scope | None]:
    """Read ``organisation``, or ``KIND:NAME``; returns the namespace and the scope, each None where not named.

    Raises :class:`InvalidInputError`.
    """
    kind, colon, name = text.partition(":")
    if text == ORGANISATION:
        return None, None
    if colon and name and kind == NAMESPACE:
        return name, None
    if not colon or not name or kind not in tuple(ScopeKind):
        kinds = ", ".join(f"{each}:NAME" for each in (NAMESPACE, *ScopeKind))
        raise InvalidInputError(f"{text[:60]!r} is neither {ORGANISATION} nor one of {kinds}", "scope")
    return None, Scope(ScopeKind(kind), name)
