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
"""Spread of ln(energy) between runs that nothing else is known of: an assumption."""

PRIOR_WEIGHT: Final = 3
"""How many runs the prior spread counts for when it is pooled with what was seen."""

NAMEPLATE_MEDIAN: Final = 0.71
"""Median of mean over nameplate power on H100: ML.ENERGY v3 (range 0.33 to 0.99)."""

_Z90: Final = NormalDist().inv_cdf(0.9)


class Basis(StrEnum):
    """What a prediction stands on, from the firmest to the weakest."""

    HISTORY = "history"
    NEIGHBOURS = "neighbours"
    PRIOR = "prior"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class PastRun:
    """A finished, measured run; ``accelerators`` counts boards (a MIG slice is a fraction)."""

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
    """What will run; ``declared_ns`` is the author's word, ``deadline_ns`` the platform's.

    ``ahead_ns`` is how far work is held that ends only when somebody ends it; None of other work.
    """

    namespace: str
    model: str | None
    kind: str
    gpu_model: str
    gpu_model_known: bool
    accelerators: Fraction
    declared_ns: int | None
    deadline_ns: int | None
    default_ns: int
    ahead_ns: int | None = None


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
    board = canonical_model(query.gpu_model)
    same_board = [run for run in history if canonical_model(run.gpu_model) == board and _usable(run)]
    own = [run for run in same_board if query.model is not None and _identity(run) == _identity(query)]
    time = _time(own, query)
    if own and time.source is _TimeSource.HISTORY:
        energy = _log_normal([run.energy_mj / float(run.accelerators) for run in own])
        return _answer(energy.scaled(float(query.accelerators)), time, Basis.HISTORY, len(own), query)
    seconds = time.ns / NS_PER_SECOND * float(query.accelerators)
    for basis, runs in (
        (Basis.HISTORY, own),
        (Basis.NEIGHBOURS, [run for run in same_board if run.kind == query.kind]),
    ):
        if runs:
            power = _log_normal([run.power_mw for run in runs])
            return _answer(power.scaled(seconds), time, basis, len(runs), query)
    return _from_nameplate(query, time)


class _TimeSource(StrEnum):
    DECLARED = "declared"
    HISTORY = "history"
    DEADLINE = "deadline"
    AHEAD = "held ahead"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class _Time:
    ns: int
    source: _TimeSource


def _usable(run: PastRun) -> bool:
    return run.energy_mj > 0 and run.duration_ns > 0 and run.accelerators > 0


def _from_nameplate(query: Query, time: _Time) -> Prediction:
    plate = nameplate(query.gpu_model)
    if plate is None:
        raise InvalidInputError(f"the power of {query.gpu_model!r} is not known and none was measured", "gpu_model")
    full_mj = plate.mw * time.ns * query.accelerators / NS_PER_SECOND
    return Prediction(
        p50_mj=math.ceil(float(full_mj) * NAMEPLATE_MEDIAN),
        p90_mj=math.ceil(full_mj),  # a board does not draw more than its limit for long
        duration_ns=time.ns,
        basis=_weakened(Basis.PRIOR, time, query),
        n=0,
        detail=_detail(query, time, f"nameplate {plate.mw // 1_000} W"),
    )


def _answer(energy: _LogNormal, time: _Time, basis: Basis, n: int, query: Query) -> Prediction:
    return Prediction(
        p50_mj=math.ceil(energy.at(0.5)),
        p90_mj=math.ceil(energy.at(0.9)),
        duration_ns=time.ns,
        basis=_weakened(basis, time, query),
        n=n,
        detail=_detail(query, time, f"{n} measured run{'s' if n != 1 else ''}"),
    )


def _weakened(basis: Basis, time: _Time, query: Query) -> Basis:
    """A time or a board that nobody named makes the whole prediction a default."""
    known = query.gpu_model_known and time.source is not _TimeSource.DEFAULT
    return basis if known else Basis.DEFAULT


def _detail(query: Query, time: _Time, source: str) -> str:
    seconds = time.ns // NS_PER_SECOND
    what = f"{float(query.accelerators):g} x {query.gpu_model}"
    return f"{what} for {seconds} s ({time.source}), power from {source}"


def _time(own: Sequence[PastRun], query: Query) -> _Time:
    """Time of the demand: declared, but never below history's median; without an end what is held; else history."""
    usual = math.ceil(_log_normal([float(run.duration_ns) for run in own]).at(0.5)) if own else None
    if query.declared_ns is not None:
        return _Time(max(query.declared_ns, usual or 0), _TimeSource.DECLARED)
    if query.ahead_ns is not None:
        return _Time(query.ahead_ns, _TimeSource.AHEAD)
    if usual is not None:
        return _Time(usual, _TimeSource.HISTORY)
    if query.deadline_ns is not None:
        return _Time(query.deadline_ns, _TimeSource.DEADLINE)
    return _Time(query.default_ns, _TimeSource.DEFAULT)


def _identity(run: PastRun | Query) -> tuple[str, str | None, str]:
    return run.namespace, run.model, run.kind


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
