"""Budget objects that are wrong in one place each, for whoever reads them: the core and the API server."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

EXAMPLE: Final[dict[str, Any]] = {
    "apiVersion": "joulegate.io/v1alpha1",
    "kind": "Budget",
    "metadata": {"name": "vision", "labels": {"a": "b"}},
    "spec": {
        "parent": "research",
        "scope": {"namespaces": ["vision"], "namespaceSelector": {}, "kinds": ["training", "inference"]},
        "period": {"unit": "Month", "timezone": "Europe/Berlin"},
        "limits": {"energyKwh": "120", "carbonKg": "40", "cost": {"amount": "500.00", "currency": "EUR"}},
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The example with one field replaced, or removed where ``value`` is None."""
    copy = deepcopy(EXAMPLE)
    *above, last = path.split(".")
    target = copy
    for part in above:
        target = target.setdefault(part, {})
    target[last] = value
    return copy


# What is wrong, and the field that the core names.
REFUSED: Final[list[tuple[str, object, str | None]]] = [
    ("kind", "Bugdet", "kind"),
    ("apiVersion", "v1", "kind"),
    ("surprise", 1, "Budget.surprise"),
    ("metadata", "vision", "metadata"),
    ("metadata.name", "Not A Name", "metadata.name"),
    ("metadata.name", None, "metadata.name"),
    ("spec", None, "Budget.spec"),
    ("spec.limit", {}, "spec.limit"),
    ("spec.limits", {}, "spec.limits"),
    ("spec.limits", None, "spec.limits"),
    ("spec.limits.energyKwh", 120, "spec.limits.energyKwh"),
    ("spec.limits.energyKwh", "1e-10", "spec.limits.energyKwh"),
    ("spec.limits.energyKwh", "-1", "spec.limits.energyKwh"),
    ("spec.limits.energyKwh", "NaN", "spec.limits.energyKwh"),
    ("spec.limits.energyKwh", "1" + "0" * 20, "spec.limits.energyKwh"),
    ("spec.limits.energyMwh", "1", "spec.limits.energyMwh"),
    ("spec.limits.cost", {"amount": "5"}, "spec.limits.cost.currency"),
    ("spec.limits.cost", {"amount": "5", "currency": "euro"}, "spec.limits.cost.currency"),
    ("spec.period", None, "spec.period"),
    ("spec.period", {"unit": "Fortnight"}, "spec.period.unit"),
    ("spec.period", {"unit": "Day", "timezone": "Mars/Olympus"}, "spec.period.timezone"),
    ("spec.period", {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "spec.period.end"),
    ("spec.scope.kinds", ["train"], "spec.scope.kinds[0]"),
    ("spec.scope.namespaces", "vision", "spec.scope.namespaces"),
    ("spec.scope.namespaceSelector", {"matchExpressions": [{"key": "a", "operator": "In"}]}, None),
    ("spec.enforcement", "deny", "spec.enforcement"),
    ("spec.selectable", "yes", "spec.selectable"),
    ("spec.default", True, "spec.default"),
    ("spec.horizon", "forever", "spec.horizon"),
    ("spec.horizon", "9999d", "spec.horizon"),
    ("spec.holdQuantile", "1.1", "spec.holdQuantile"),
    ("spec.holdQuantile", 0.9, "spec.holdQuantile"),
    ("spec.warnAtPercent", [True], "spec.warnAtPercent[0]"),
    ("spec.warnAtPercent", [0], "spec.warnAtPercent[0]"),
    ("spec.parent", "", "spec.parent"),
]
