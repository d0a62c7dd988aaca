"""What a demand is expected to draw here and now: prediction by the newest runs, quote by the rates in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

from joulegate.core.footprint import RateBook
from joulegate.core.prediction import Basis, PastRun, Prediction, Query, predict
from joulegate.core.quotes import Basis as QuoteBasis
from joulegate.core.quotes import Estimate, Quote, quote
from joulegate.core.workloads import Demand, Group
from joulegate_api.settings import Settings

MEDIAN: Final = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The prediction of every group of a demand; groups run side by side, so the longest time is that of the whole."""

    groups: tuple[Group, ...]
    predictions: tuple[Prediction, ...]
    gpu_models: tuple[str, ...]

    @property
    def basis(self) -> Basis:
        """The weakest of the groups'."""
        order = list(Basis)
        return max((prediction.basis for prediction in self.predictions), key=order.index)

    @property
    def n(self) -> int:
        """How many measured runs stand behind the group that fewest stand behind."""
        return min(prediction.n for prediction in self.predictions)

    @property
    def duration_ns(self) -> int:
        """The time of the whole."""
        return max(prediction.duration_ns for prediction in self.predictions)

    @property
    def detail(self) -> str:
        """What the prediction was made of, in words."""
        return "; ".join(prediction.detail for prediction in self.predictions)

    def energy_mj(self, quantile: Fraction) -> int:
        """Energy at a quantile; quantiles of groups add up to no less than the quantile of the sum."""
        return sum(_at(prediction, quantile) for prediction in self.predictions)

    def quote(self, book: RateBook, site: str, start: datetime, quantile: Fraction) -> Quote:
        """Energy at a quantile over the quarter-hours from ``start``, priced with the rates in force."""
        estimates = [
            Estimate(model, group.accelerators * group.replicas, _at(prediction, quantile))
            for group, prediction, model in zip(self.groups, self.predictions, self.gpu_models, strict=True)
        ]
        basis = QuoteBasis(self.basis.value, self.n, self.detail)
        return quote(estimates, book, site, start, self.duration_ns, basis)


def forecast(
    demand: Demand, namespace: str, history: Sequence[PastRun], settings: Settings, ahead_ns: int | None = None
) -> Forecast:
    """Predict every group of a demand; ``ahead_ns`` is how long one without an end is held.

    Raises :class:`~joulegate.core.errors.InvalidInputError` for a board that is
    in no table and was never measured.
    """
    models = tuple(group.gpu_model or settings.default_gpu_model for group in demand.groups)
    predictions = tuple(
        predict(
            history,
            Query(
                namespace=namespace,
                model=demand.model,
                kind=(demand.added_kind or demand.kind).value,
                gpu_model=model,
                gpu_model_known=group.gpu_model is not None,
                accelerators=group.accelerators * group.replicas,
                declared_ns=demand.declared_ns,
                deadline_ns=demand.deadline_ns,
                default_ns=settings.default_duration_ns,
                ahead_ns=ahead_ns,
            ),
        )
        for group, model in zip(demand.groups, models, strict=True)
    )
    return Forecast(demand.groups, predictions, models)


def _at(prediction: Prediction, quantile: Fraction) -> int:
    return prediction.p50_mj if quantile == MEDIAN else prediction.at(quantile)
