"""What a manifest refers to: other objects, and the nodes of its cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from joulegate.core.workloads.demand import Unresolved


@dataclass(frozen=True, slots=True)
class Reference:
    """Another object that holds a part of the demand; ``namespace`` None of a kind without namespaces."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        """As people write it."""
        place = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind} {self.name}{place}"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the normaliser needs it: its labels, and the accelerators that it has by resource name."""

    labels: Mapping[str, str]
    accelerators: Mapping[str, int]


class Surroundings(Protocol):
    """Where references are looked up. Both methods raise ``Unresolved`` where nobody can tell."""

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """The object, None where it does not exist."""

    def nodes(self) -> Sequence[Node] | None:
        """Every node; None where there is no cluster."""


class _Nothing:
    """A manifest by itself."""

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """Nothing can be looked up."""
        raise Unresolved(f"{reference} cannot be looked up outside its cluster")

    def nodes(self) -> Sequence[Node] | None:
        """There is no cluster."""
        return None


ALONE: Final[Surroundings] = _Nothing()
"""The surroundings of a manifest that is read outside a cluster."""


def look_up(around: Surroundings, reference: Reference) -> Mapping[str, Any]:
    """An object that must exist."""
    found = around.get(reference)
    if found is None:
        raise Unresolved(f"{reference} does not exist")
    return found
