"""Any Kubernetes manifest as a demand: accelerators x model x replicas x time, or why not.

A manifest comes from outside and may be anything. What cannot be read raises
:class:`Unresolved`, never a smaller demand: work that nobody can size is
undecidable, and its budgets say what happens to it. Unknown fields are ignored.
:func:`demand_of` is the one door.
"""

from joulegate.core.workloads.apps import scaled
from joulegate.core.workloads.demand import Demand, Group, Unresolved
from joulegate.core.workloads.gates import (
    EXHAUSTED,
    GATE,
    POD_GATE,
    can_be_gated,
    gate,
    given_to_kueue,
    is_gated,
    is_kept_from_kueue,
    is_queued,
    kept_from_kueue,
    lifted,
    suspended,
)
from joulegate.core.workloads.kinds import (
    Stage,
    demand_of,
    is_generator,
    is_governed,
    kind_of_work,
    stage_of,
)
from joulegate.core.workloads.pods import GPU_PRODUCT
from joulegate.core.workloads.reading import ANNOTATION, Manifest
from joulegate.core.workloads.surroundings import ALONE, Node, Reference, Surroundings

__all__ = [
    "ALONE",
    "ANNOTATION",
    "EXHAUSTED",
    "GATE",
    "GPU_PRODUCT",
    "POD_GATE",
    "Demand",
    "Group",
    "Manifest",
    "Node",
    "Reference",
    "Stage",
    "Surroundings",
    "Unresolved",
    "can_be_gated",
    "demand_of",
    "gate",
    "given_to_kueue",
    "is_gated",
    "is_generator",
    "is_governed",
    "is_kept_from_kueue",
    "is_queued",
    "kept_from_kueue",
    "kind_of_work",
    "lifted",
    "scaled",
    "stage_of",
    "suspended",
]
