"""The energy of a workload as a surface over its settings: batch size, power limit, optimizer.

ln(energy) is a Gaussian process around an unknown constant (ordinary kriging). Settings that are near each other have
nearly the same energy; how near is measured in logarithms, because doubling a batch size means about the same at any
size. The scale of the spread is not assumed: it is what leaving each run out in turn shows, pooled with a prior of few
runs, so that little history gives wide quantiles.

Sources: C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006: Matern covariance (4.17),
unknown constant (2.7), leaving one out (5.12).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from statistics import NormalDist, median
from typing import Final

REACH_BATCH: Final = 2.0
"""Over how many e-foldings of the batch size energies stay alike; 7.4 times as many samples at once."""

REACH_LIMIT: Final = 0.7
"""The same of the power limit: twice the limit. Boards offer about three times from least to most."""

ACROSS_OPTIMIZERS: Final = 0.7
"""Correlation of two runs that differ in the optimizer alone: the network, which draws most, is the same."""

NOISE: Final = 0.1
"""Spread of repeats of one setting, as a share of the spread between settings: an assumption."""

PRIOR_WEIGHT: Final = 3
"""How many runs the prior spread (1 in ln(energy)) counts for when it is pooled with what was seen."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is set to; ``batch_size`` and ``limit_w`` are positive."""

    batch_size: float
    limit_w: float
    optimizer: str = ""


@dataclass(frozen=True, slots=True)
class Guess:
    """A log-normal energy."""

    log_mean: float
    log_sigma: float

    def at(self, quantile: float) -> float:
        """The energy that is exceeded with probability 1 - ``quantile``."""
        return math.exp(self.log_mean + NormalDist().inv_cdf(quantile) * self.log_sigma)


class Surface:
    """Fitted to the runs of one workload on one kind of board; takes some 10 ms for 100 runs."""

    def __init__(self, settings: Sequence[Setting], energies: Sequence[float]) -> None:
        """Fit; raises ``ValueError`` without runs, or for an energy that is not positive."""
        if not settings or min(energies) <= 0:
            message = "a surface needs runs, and their energies positive"
            raise ValueError(message)
        self._settings = settings
        count = len(settings)
        covariance = [[_alike(a, b) for b in settings[: at + 1]] for at, a in enumerate(settings)]
        for at in range(count):
            covariance[at][at] += NOISE**2
        self._root = _root_of(covariance)
        ones, logs = self._whitened([1.0] * count), self._whitened([math.log(energy) for energy in energies])
        self._weight = _dot(ones, ones)
        self._mean = _dot(ones, logs) / self._weight
        self._residuals = [log - self._mean * one for log, one in zip(logs, ones, strict=True)]
        self._ones = ones
        self._scale = self._spread()

    def at(self, setting: Setting) -> Guess:
        """The energy at a setting, of one more run."""
        near = self._whitened([_alike(setting, known) for known in self._settings])
        mean = self._mean + _dot(near, self._residuals)
        beyond = (1 - _dot(near, self._ones)) ** 2 / self._weight
        variance = max(1 + NOISE**2 - _dot(near, near) + beyond, NOISE**2)
        return Guess(mean, math.sqrt(variance * self._scale))

    def _spread(self) -> float:
        """Mean square error of leaving each run out, in its own standard deviations, pooled with the prior."""
        total = 0.0
        for at, column in enumerate(_inverse_columns(self._root)):
            precision = _dot(column, column) - _dot(column, self._ones[at:]) ** 2 / self._weight
            if precision > 0:  # not where it is the only run: leaving it out leaves nothing
                total += _dot(column, self._residuals[at:]) ** 2 / precision
        return (total + PRIOR_WEIGHT) / (len(self._settings) + PRIOR_WEIGHT)

    def _whitened(self, values: Sequence[float]) -> list[float]:
        """Values with the correlations taken out: the root's system solved forwards."""
        found: list[float] = []
        for row, value in zip(self._root, values, strict=True):
            found.append((value - _dot(row, found)) / row[-1])
        return found


def fraction_of_limit(fractions: Sequence[Sequence[float]]) -> float:
    """Mean power over power limit for a workload that was never seen: the middle of what others make of that limit.

    ``fractions`` holds, for each other workload, those of its runs at about this limit; each counts once, however
    often it ran. Raises ``ValueError`` where there is none.
    """
    return median(median(workload) for workload in fractions)


def _alike(one: Setting, other: Setting) -> float:
    """The correlation of two settings: Matern, 5/2."""
    batch = math.log(one.batch_size / other.batch_size) / REACH_BATCH
    limit = math.log(one.limit_w / other.limit_w) / REACH_LIMIT
    far = math.sqrt(5) * math.hypot(batch, limit)
    near = (1 + far + far * far / 3) * math.exp(-far)
    return near if one.optimizer == other.optimizer else ACROSS_OPTIMIZERS * near


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(map(mul, one, other))


def _root_of(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The Cholesky root of a symmetric positive matrix; of both, the lower half."""
    root: list[list[float]] = []
    for at, values in enumerate(matrix):
        row: list[float] = []
        for column in range(at):
            row.append((values[column] - _dot(row, root[column])) / root[column][column])
        root.append([*row, math.sqrt(values[at] - _dot(row, row))])
    return root


def _inverse_columns(root: Sequence[Sequence[float]]) -> list[list[float]]:
    """The columns of the inverse of a lower triangle, each from its diagonal down."""
    columns: list[list[float]] = []
    for at, row in enumerate(root):
        for begin, column in enumerate(columns):
            column.append(-_dot(row[begin:at], column) / row[at])
        columns.append([1 / row[at]])
    return columns
