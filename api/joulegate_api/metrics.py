"""What this replica counts, and its ``/metrics`` in the text format of Prometheus (version 0.0.4).

Names are those of the contract. No label holds the id of a run. The gauges of the whole
ledger come from one replica, the one that leads; ``period`` is the present UTC month.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import joulegate
from joulegate.core.budgets import Balance, Outcome, Reason
from joulegate.core.units import MICROS, MJ_PER_KWH, UG_PER_G, Unit
from joulegate_api.store import Overview

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

_JOULE_PER_KWH: Final = 3_600_000
_BASE: Final = {
    Unit.MJ: ("joules", MJ_PER_KWH // _JOULE_PER_KWH),
    Unit.UG: ("grams_co2e", UG_PER_G),
    Unit.MICROS: ("", MICROS),
}
"""Prometheus wants base units: the name of each, and how many of ours make one. Money is named by its currency."""

Sample = tuple[str, Mapping[str, str], int | float | Fraction]


@dataclass(frozen=True, slots=True)
class LogState:
    """The log in figures; ``checkpoint_age_s`` is None where nothing was ever signed.

    ``lag_s`` is how long the oldest entry has been waiting for its place; ``held`` counts entries
    that get none, because the chain of their writer is broken.
    """

    lag_s: float
    checkpoint_age_s: float | None
    held: int


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What one replica says for all: balances of open budgets, the tenant in a few figures, and the log."""

    balances: Iterable[tuple[str, Sequence[Balance]]]
    overview: Overview
    log: LogState


@dataclass(slots=True)
class Metrics:
    """Decisions and their times, counted by this replica since it started."""

    _decisions: Counter[tuple[Outcome, Reason]] = field(default_factory=Counter)
    _buckets: Counter[int] = field(default_factory=Counter)
    _total_s: float = 0.0
    _runs: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _differences: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def decided(self, outcome: Outcome, reason: Reason, seconds: float) -> None:
        """Count one answered review."""
        with self._lock:
            self._decisions[outcome, reason] += 1
            self._buckets[bisect_left(BUCKETS_S, seconds)] += 1
            self._total_s += seconds

    def ran(self, job: str, *, failed: bool) -> None:
        """Count one run of a timer."""
        with self._lock:
            self._runs[job, failed] += 1

    def checked(self, differences: int) -> None:
        """Keep how many figures the last trial balance of this replica found to differ."""
        with self._lock:
            self._differences = differences

    def text(self, ledger: LedgerState | None = None, *, read_only: bool = False) -> str:
        """Everything that this replica counted and is, and the gauges of the whole ledger where it leads."""
        with self._lock:
            decisions, buckets, total_s = Counter(self._decisions), Counter(self._buckets), self._total_s
            runs, differences = Counter(self._runs), self._differences
        lines = [
            *_family("joulegate_build_info", "gauge", [("", {"version": joulegate.__version__}, 1)]),
            *_family("joulegate_log_read_only", "gauge", [("", {}, int(read_only))]),
            *_family(
                "joulegate_admission_decisions_total",
                "counter",
                [("", {"outcome": o.value, "reason": r.value}, n) for (o, r), n in sorted(decisions.items())],
            ),
            *_family("joulegate_admission_duration_seconds", "histogram", _histogram(buckets, total_s)),
        ]
        told = [("", {"job": job, "outcome": "failed" if bad else "done"}, n) for (job, bad), n in sorted(runs.items())]
        lines += _family("joulegate_timer_runs_total", "counter", told)
        if differences is not None:
            lines += _family("joulegate_ledger_differences", "gauge", [("", {}, differences)])
        if ledger is not None:
            lines += [*_budgets(ledger.balances), *_overview(ledger.overview), *_log(ledger.log)]
        return "\n".join(lines) + "\n"


def _budgets(balances: Iterable[tuple[str, Sequence[Balance]]]) -> Iterator[str]:
    samples: dict[str, list[Sample]] = {}
    for budget, units in balances:
        for balance in units:
            for name, amount in _amounts(balance):
                unit, base = _BASE[balance.unit]
                labels = {"budget": budget, "unit": unit or balance.currency or ""}
                samples.setdefault(name, []).append(("", labels, Fraction(amount, base)))
    for name, found in samples.items():
        yield from _family(f"joulegate_budget_{name}", "gauge", found)


def _overview(state: Overview) -> Iterator[str]:
    carbon, cost = _BASE[Unit.UG][1], _BASE[Unit.MICROS][1]
    energy = Fraction(state.energy_mj, _BASE[Unit.MJ][1])
    yield from _family("joulegate_period_energy_joules", "gauge", [("", {}, energy)])
    grams = Fraction(state.carbon_ug, carbon)
    yield from _family("joulegate_period_emissions_grams_co2e", "gauge", [("", {}, grams)])
    money: list[Sample] = [("", {"currency": each.currency}, Fraction(each.micros, cost)) for each in state.costs]
    yield from _family("joulegate_period_cost", "gauge", money)
    yield from _family("joulegate_unpriced_quarters", "gauge", [("", {}, state.unpriced_quarters)])
    counts: list[Sample] = [("", {"state": kept.value}, count) for kept, count in state.holds.items()]
    yield from _family("joulegate_holds", "gauge", counts)


def _log(state: LogState) -> Iterator[str]:
    gauges: list[tuple[str, float]] = [
        ("joulegate_log_sequencer_lag_seconds", state.lag_s),
        ("joulegate_log_held_entries", state.held),
    ]
    if state.checkpoint_age_s is not None:
        gauges.append(("joulegate_log_checkpoint_age_seconds", state.checkpoint_age_s))
    for name, value in gauges:
        yield from _family(name, "gauge", [("", {}, value)])


def _amounts(balance: Balance) -> Iterator[tuple[str, int]]:
    yield "posted", balance.posted
    yield "pending", balance.pending
    if balance.limit is not None and balance.available is not None:
        yield "limit", balance.limit
        yield "available", balance.available
        yield "debt", balance.debt


def _histogram(buckets: Counter[int], total_s: float) -> Iterator[Sample]:
    count = 0
    for index, bound in enumerate(BUCKETS_S):
        count += buckets[index]
        yield "_bucket", {"le": str(bound)}, count
    count += buckets[len(BUCKETS_S)]
    yield "_bucket", {"le": "+Inf"}, count
    yield "_sum", {}, total_s
    yield "_count", {}, count


def _family(name: str, kind: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for suffix, labels, value in samples:
        text = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        number = float(value) if isinstance(value, Fraction) else value
        yield f"{name}{suffix}{{{text}}} {number}" if text else f"{name}{suffix} {number}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
