"""From a demand to the request that the ledger decides: predicted, quoted and named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from joulegate.core.binding import Work, bind, in_scope
from joulegate.core.budgets import Budget
from joulegate.core.horizons import open_time_ns
from joulegate.core.workloads import Demand, Unresolved
from joulegate_api.context import Context
from joulegate_api.forecasts import Forecast, forecast
from joulegate_api.predictions import P90
from joulegate_api.store import HoldRequest, Origin


@dataclass(frozen=True, slots=True)
class Asked:
    """Which object asks, as whom, and why; ``labels_known`` where every label of its namespace is known.

    ``starts_at`` is when what is asked for begins, None is now.
    """

    cluster: str
    root_uid: str
    resource: str
    name: str
    subject: str
    origin: Origin = Origin.ADMITTED
    extension: str = ""
    labels_known: bool = False
    starts_at: datetime | None = None


def hold_request(
    asked: Asked, work: Work, demand: Demand, budgets: Mapping[str, Budget], parts: Context
) -> tuple[HoldRequest, Forecast]:
    """The request of a demand with accelerators, and the forecast that it was quoted by.

    Raises :class:`~joulegate.core.workloads.Unresolved` where a budget may bind the
    work by labels that are not known, and :class:`~joulegate.core.errors.InvalidInputError`
    for a board that nothing is known of.
    """
    unknown = None if asked.labels_known else selected_by_labels(budgets, work)
    if unknown is not None:
        raise Unresolved(f"budget {unknown} selects namespaces by labels, which are not known here")
    now = parts.now()
    binding = [budgets[name] for name in bind(budgets, work).names]
    start = max(now, asked.starts_at or now)
    ahead_ns = open_time_ns(demand, binding, start)
    predicted = forecast(demand, work.namespace, parts.history.runs(), parts.settings, ahead_ns)
    quantile = max((budget.hold_quantile for budget in binding), default=P90)
    request = HoldRequest(
        cluster=asked.cluster,
        root_uid=asked.root_uid,
        resource=asked.resource,
        namespace=work.namespace,
        name=asked.name,
        work=work,
        demand=demand,
        quote=predicted.quote(parts.store.rates.book(), parts.settings.site, start, quantile),
        subject=asked.subject,
        requested_at=now,
        origin=asked.origin,
        extension=asked.extension,
        unattended=asked.origin is not Origin.ADOPTED
        and asked.cluster in parts.store.budgets.remembered().unadopted
        and not parts.is_attended(asked.cluster),
    )
    return request, predicted


def selected_by_labels(budgets: Mapping[str, Budget], work: Work) -> str | None:
    """A budget that may bind the work, by labels of its namespace that are not known here."""
    for name in sorted(budgets):
        scope = budgets[name].scope
        if scope and any(rule.key not in work.namespace_labels for rule in scope.namespace_selector):
            known = tuple(rule for rule in scope.namespace_selector if rule.key in work.namespace_labels)
            if in_scope(replace(scope, namespace_selector=known), work):
                return name
    return None
