"""What a run will draw, before it runs: quantiles of energy with the basis they stand on.

Energy and power of runs spread by ratios rather than by differences, so both
are modelled as log-normal. The spread of few runs is pooled with a prior
spread, and a prediction for *one more* run is wider than the spread of those
seen by ``sqrt(1 + 1/n)``: the ordinary predictive interval of a mean.

The order of trust: runs of the same model on the same hardware (``history``),
other models of the same kind on the same hardware (``neighbours``), the board's
nameplate power (``prior``), and the same for a board or a time that nobody
named (``default``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from statistics import NormalDist, fmean
from typing import Final

from joulegate.core.accelerators import canonical_model, nameplate
from joulegate.core.errors import InvalidInputError
from joulegate.core.units import NS_PER_SECOND

PRIOR_SIGMA: Final = 0.35
"""Spread of ln(energy) between runs that nothing else is known of: an assumption, stated as such."""

PRIOR_WEIGHT: Final = 3
"""How many runs the prior spread counts for when it is pooled with what was seen."""

NAMEPLATE_MEDIAN: Final = 0.71
"""Median of mean power over nameplate power: 0.71 of 328 H100 configurations of ML.ENERGY v3 (min 0.33, max 0.99)."""

_Z90: Final = NormalDist().inv_cdf(0.9)


class Basis(StrEnum):
    """What a prediction stands on, from the firmest to the weakest."""

    HISTORY = "history"
    NEIGHBOURS = "neighbours"
    PRIOR = "prior"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class PastRun:
    """A finished, fully measured run. ``accelerators`` counts whole boards (a MIG slice is a fraction of one)."""

    namespace: str
    model: str | None
    kind: str
    gpu_model: str
    accelerators: Fraction
    duration_ns: int
    energy_mj: int

    @property
    def power_mw(self) -> float:
        """Mean power of one accelerator."""
        return self.energy_mj * NS_PER_SECOND / (self.duration_ns * float(self.accelerators))


@dataclass(frozen=True, slots=True)
class Query:
    """What is about to run. ``declared_ns`` is the author's word; ``deadline_ns`` the platform's; both may be absent."""

    namespace: str
    model: str | None
    kind: str
    gpu_model: str
    gpu_model_known: bool
    accelerators: Fraction
    declared_ns: int | None
    deadline_ns: int | None
    default_ns: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Energy quantiles of one run in mJ, and of its duration in ns; ``n`` runs stand behind it."""

    p50_mj: int
    p90_mj: int
    duration_ns: int
    basis: Basis
    n: int
    detail: str

    def at(self, quantile: Fraction) -> int:
        """The energy of another quantile, log-normal through p50 and p90, rounded up."""
        if self.p50_mj <= 0 or quantile == Fraction(9, 10):
            return self.p90_mj
        spread = math.log(self.p90_mj / self.p50_mj) / _Z90
        return math.ceil(self.p50_mj * math.exp(NormalDist().inv_cdf(float(quantile)) * spread))


def predict(history: Sequence[PastRun], query: Query) -> Prediction:
    """Predict the energy of ``query`` from finished runs, else from the nameplate.

    Raises :class:`InvalidInputError` where the board is in no table and nothing
    was ever measured on it: an unknown power is not zero.
    """
    same_board = [run for run in history if canonical_model(run.gpu_model) == canonical_model(query.gpu_model)]
    own = [run for run in same_board if query.model is not None and _identity(run) == _identity(query)]
    duration_ns, time_basis = _duration(own, query)
    if own and time_basis is Basis.HISTORY:
        energy = _log_normal([run.energy_mj / float(run.accelerators) for run in own])
        return _answer(energy.scaled(float(query.accelerators)), duration_ns, Basis.HISTORY, len(own), query)
    seconds = duration_ns / NS_PER_SECOND * float(query.accelerators)
    for basis, runs in ((Basis.HISTORY, own), (Basis.NEIGHBOURS, [run for run in same_board if run.kind == query.kind])):
        if runs:
            power = _log_normal([run.power_mw for run in runs])
            return _answer(power.scaled(seconds), duration_ns, max(basis, time_basis, key=_weakness), len(runs), query)
    return _from_nameplate(query, duration_ns, time_basis)


def _from_nameplate(query: Query, duration_ns: int, time_basis: Basis) -> Prediction:
    plate = nameplate(query.gpu_model)
    if plate is None:
        raise InvalidInputError(f"the power of {query.gpu_model!r} is not known and none was measured", "gpu_model")
    full_mj = plate.mw * duration_ns * query.accelerators / NS_PER_SECOND
    basis = Basis.PRIOR if query.gpu_model_known and time_basis is not Basis.DEFAULT else Basis.DEFAULT
    return Prediction(
        p50_mj=math.ceil(float(full_mj) * NAMEPLATE_MEDIAN),
        p90_mj=math.ceil(full_mj),  # a board does not draw more than its limit for long
        duration_ns=duration_ns,
        basis=basis,
        n=0,
        detail=_detail(query, duration_ns, f"nameplate {plate.mw // 1_000} W"),
    )


def _answer(energy: _LogNormal, duration_ns: int, basis: Basis, n: int, query: Query) -> Prediction:
    return Prediction(
        p50_mj=math.ceil(energy.at(0.5)),
        p90_mj=math.ceil(energy.at(0.9)),
        duration_ns=duration_ns,
        basis=basis if query.gpu_model_known else Basis.DEFAULT,
        n=n,
        detail=_detail(query, duration_ns, f"{n} measured run{'s' if n != 1 else ''}"),
    )


def _detail(query: Query, duration_ns: int, source: str) -> str:
    return f"{float(query.accelerators):g} x {query.gpu_model} for {duration_ns // NS_PER_SECOND} s, from {source}"


def _duration(own: Sequence[PastRun], query: Query) -> tuple[int, Basis]:
    """Time of the demand: the declared one but never below the history's median; else history, deadline, default."""
    usual = math.ceil(_log_normal([float(run.duration_ns) for run in own]).at(0.5)) if own else None
    if query.declared_ns is not None:
        return max(query.declared_ns, usual or 0), Basis.PRIOR if usual is None else Basis.NEIGHBOURS
    if usual is not None:
        return usual, Basis.HISTORY
    if query.deadline_ns is not None:
        return query.deadline_ns, Basis.PRIOR
    return query.default_ns, Basis.DEFAULT


def _identity(run: PastRun | Query) -> tuple[str, str | None, str]:
    return run.namespace, run.model, run.kind


def _weakness(basis: Basis) -> int:
    return list(Basis).index(basis)


@dataclass(frozen=True, slots=True)
class _LogNormal:
    mean: float
    sigma: float

    def at(self, quantile: float) -> float:
        return math.exp(self.mean + NormalDist().inv_cdf(quantile) * self.sigma)

    def scaled(self, factor: float) -> _LogNormal:
        return _LogNormal(self.mean + math.log(factor), self.sigma)


def _log_normal(values: Sequence[float]) -> _LogNormal:
    logs = [math.log(value) for value in values]
    n, mean = len(logs), fmean(logs)
    squares = sum((value - mean) ** 2 for value in logs)
    pooled = (squares + PRIOR_WEIGHT * PRIOR_SIGMA**2) / (n - 1 + PRIOR_WEIGHT)
    return _LogNormal(mean, math.sqrt(pooled * (1 + 1 / n)))
