"""Predictions: what a manifest would draw, cost and emit, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core.binding import Work, bind
from joulegate.core.errors import InvalidInputError
from joulegate.core.horizons import open_time_ns
from joulegate.core.quotes import Quote
from joulegate.core.workloads import Demand, demand_of
from joulegate_api.bodies import Raw, parse
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.forecasts import MEDIAN, Forecast, forecast
from joulegate_api.records import NAMESPACE_LABEL

MANIFEST: Final = {"type": "object", "description": "A Kubernetes object. Unknown fields are ignored."}
P90: Final = Fraction(9, 10)

router = APIRouter(tags=["predictions"])


@router.post("/v1/predictions", openapi_extra=takes(MANIFEST))
def post_prediction(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Predict the energy, carbon and cost of a manifest: its quantiles, their basis, and how many runs it rests on."""
    manifest = parse(raw)
    demand = demand_of(manifest)
    namespace = namespace_of(manifest)
    caller.require(namespace, parts.settings.cluster, None, parts.here)
    if not demand.groups:
        raise InvalidInputError("asks for no accelerator, so there is nothing to predict", "manifest")
    added = demand.added_kind and demand.added_kind.value
    work = Work(namespace, demand.kind.value, {NAMESPACE_LABEL: namespace}, chosen=demand.budget, added_kind=added)
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    ahead_ns = open_time_ns(demand, [budgets[name] for name in bind(budgets, work).names], parts.now())
    predicted = forecast(demand, namespace, parts.history.runs(), parts.settings, ahead_ns)
    return answer(prediction_json(demand, predicted, parts))


def namespace_of(manifest: object) -> str:
    """The namespace that a manifest names; `default` where it names none, as for kubectl."""
    metadata = manifest.get("metadata") if isinstance(manifest, Mapping) else None
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    if namespace is None:
        return "default"
    if not isinstance(namespace, str) or not namespace:
        raise InvalidInputError("is not a name", "metadata.namespace")
    return namespace


def prediction_json(demand: Demand, predicted: Forecast, parts: Context) -> dict[str, Any]:
    """A prediction with its quotes at p50 and p90, from now on."""
    book, site, now = parts.store.rates.book(), parts.settings.site, parts.now()
    p50 = predicted.quote(book, site, now, MEDIAN)
    p90 = predicted.quote(book, site, now, P90)
    return {
        "basis": predicted.basis,
        "n": predicted.n,
        "detail": predicted.detail,
        "duration_ns": predicted.duration_ns,
        "accelerators": str(demand.accelerators),
        "gpu_models": list(dict.fromkeys(predicted.gpu_models)),
        "energy": {"p50_mj": p50.energy_mj, "p90_mj": p90.energy_mj},
        "carbon": {"p50_ug": p50.carbon_ug, "p90_ug": p90.carbon_ug},
        "cost": _cost(p50, p90),
        "references": list(p90.references),
    }


def _cost(p50: Quote, p90: Quote) -> dict[str, Any]:
    return {
        "p50_micros": p50.cost.micros if p50.cost else None,
        "p90_micros": p90.cost.micros if p90.cost else None,
        "currency": p90.cost.currency if p90.cost else None,
    }
