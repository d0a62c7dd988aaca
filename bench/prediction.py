"""The predictor on measured runs: ``python -m bench.prediction [--data DIR] [--json]``.

Takes every ``summary_power_*.csv`` in DIR: columns dataset, network, batch_size, optimizer, power_limit (W),
time_per_epoch (s), average_power (W), one row a configuration; energy is time x power of an epoch. A workload is a
dataset and a network. Rows are left out and predicted from what remains:

* ``row``: one row at a time; neighbours are present.
* ``limit``: every row of the workload at one power limit.
* ``batch``: every row of the workload at one batch size, the smallest and the largest excepted.
* ``batch-edge``: the same of the smallest and the largest, where the surface has to reach beyond what it saw.
* ``network``: every row of the network. The time of an epoch is then taken as known, as it is for the baseline
  *time x power limit*; what is predicted is the power, from what other networks make of that limit.

Per file and split: mean (MAPE) and median absolute error, share of runs at or below p90, share between p10 and p90,
median width (p90 - p10) / p50, and the errors of the baselines. Without ``--data`` bench/data/zeus is taken, and
bench/results/prediction.json is written.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Final

from joulegate.core.surfaces import Guess, Setting, Surface, fraction_of_limit

ROOT: Final = Path(__file__).parent.parent
DATA: Final = ROOT / "bench" / "data" / "zeus"
RESULTS: Final = ROOT / "bench" / "results"
NUMBERS: Final = ("batch_size", "power_limit", "time_per_epoch", "average_power")
TEXTS: Final = ("dataset", "network", "optimizer")
AIMS: Final = {"row": 0.05, "limit": 0.06, "batch": 0.09}
BELOW_P90: Final = (0.85, 0.97)


class DataError(Exception):
    """A file that cannot be evaluated; says which line."""


@dataclass(frozen=True, eq=False)
class Row:
    """One configuration."""

    workload: str
    network: str
    setting: Setting
    time_s: float
    power_w: float

    @property
    def energy_j(self) -> float:
        """Energy of one epoch."""
        return self.time_s * self.power_w


@dataclass(frozen=True)
class Predicted:
    """One row that was left out: what was said of it, and what the baselines say, in J."""

    row: Row
    guess: Guess
    baselines: dict[str, float]


def rows_of(path: Path) -> list[Row]:
    """The rows of a file; raises :class:`DataError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    reader = csv.DictReader(text.splitlines())
    lacking = [name for name in (*TEXTS, *NUMBERS) if name not in (reader.fieldnames or [])]
    if lacking:
        raise DataError(f"{path}:1: there is no column {lacking[0]}")
    rows = [_row(cells, f"{path}:{reader.line_num}") for cells in reader]
    if not rows:
        raise DataError(f"{path}: there is no row")
    return rows


def files_in(folder: Path) -> list[Path]:
    """The files to evaluate; raises :class:`DataError` where there is none."""
    files = sorted(folder.glob("summary_power_*.csv"))
    if not files:
        raise DataError(f"{folder}: there is no summary_power_*.csv")
    return files


def _row(cells: dict[str, str | None], place: str) -> Row:
    numbers = {}
    for name in NUMBERS:
        try:
            numbers[name] = float(cells[name] or "")
        except ValueError:
            raise DataError(f"{place}: {name} is {cells[name]!r}, not a number") from None
        if not (math.isfinite(numbers[name]) and numbers[name] > 0):
            raise DataError(f"{place}: {name} is {cells[name]!r}, not above zero")
    dataset, network, optimizer = (cells[name] or "" for name in TEXTS)
    setting = Setting(numbers["batch_size"], numbers["power_limit"], optimizer)
    return Row(f"{dataset}/{network}", network, setting, numbers["time_per_epoch"], numbers["average_power"])


# -- leaving out ----------------------------------------------------------------------------------


def grouped(rows: Iterable[Row], key: Callable[[Row], object]) -> list[list[Row]]:
    """Rows with the same key, in the order of the keys."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [groups[name] for name in sorted(groups)]


def one_row(rows: Sequence[Row]) -> list[list[Row]]:
    """Every row for itself."""
    return [[row] for row in rows]


def one_limit(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by power limit."""
    return grouped(rows, lambda row: row.setting.limit_w)


def inner_batches(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by batch size, without the smallest and the largest."""
    return grouped(rows, lambda row: row.setting.batch_size)[1:-1]


def outer_batches(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of the smallest and of the largest batch size."""
    groups = grouped(rows, lambda row: row.setting.batch_size)
    return [groups[0], groups[-1]] if len(groups) > 1 else []


SPLITS: Final = {"row": one_row, "limit": one_limit, "batch": inner_batches, "batch-edge": outer_batches}


def left_out(rows: Sequence[Row], split: Callable[[Sequence[Row]], list[list[Row]]]) -> Iterator[Predicted]:
    """Every group of every workload, predicted by the rest of the workload; groups that leave nothing are left."""
    for workload in grouped(rows, lambda row: row.workload):
        for group in split(workload):
            rest = [row for row in workload if row not in group]
            if not rest:
                continue
            surface = Surface([row.setting for row in rest], [row.energy_j for row in rest])
            for row in group:
                baselines = {"time_x_limit": limit_j(row), "three_nearest": three_nearest(row, rest)}
                yield Predicted(row, surface.at(row.setting), baselines)


def unseen(rows: Sequence[Row]) -> Iterator[Predicted]:
    """Every network, predicted by the others: what they make of the limit, and how far they are from each other."""
    for network in grouped(rows, lambda row: row.network):
        others = grouped((row for row in rows if row not in network), lambda row: row.network)
        for row in network:
            fractions = [part for other in others if (part := _fractions(other, row.setting.limit_w))]
            if fractions:
                energy_j = limit_j(row) * fraction_of_limit(fractions)
                spread = stdev(math.log(median(part)) for part in fractions) if len(fractions) > 1 else 1.0
                yield Predicted(row, Guess(math.log(energy_j), spread), {"time_x_limit": limit_j(row)})


def _fractions(rows: Iterable[Row], limit_w: float) -> list[float]:
    return [row.power_w / limit_w for row in rows if row.setting.limit_w == limit_w]


def limit_j(row: Row) -> float:
    """What is drawn if the board draws its limit all the time."""
    return row.time_s * row.setting.limit_w


def three_nearest(row: Row, rest: Sequence[Row]) -> float:
    """Mean of the three nearest in ln(batch), ln(limit) and the optimizer."""

    def far(other: Row) -> float:
        one, two = row.setting, other.setting
        apart = math.hypot(math.log(one.batch_size / two.batch_size), math.log(one.limit_w / two.limit_w))
        return apart + (one.optimizer != two.optimizer)

    return mean(other.energy_j for other in sorted(rest, key=far)[:3])


# -- judging --------------------------------------------------------------------------------------


def judged(split: str, found: Sequence[Predicted]) -> dict[str, Any]:
    """The figures of one split, and whether they meet the aims where there are some."""
    errors = [abs(one.guess.at(0.5) / one.row.energy_j - 1) for one in found]
    below = mean(one.row.energy_j <= one.guess.at(0.9) for one in found)
    inside = mean(one.guess.at(0.1) <= one.row.energy_j <= one.guess.at(0.9) for one in found)
    said: dict[str, Any] = {
        "split": split,
        "rows": len(found),
        "mape": mean(errors),
        "median": median(errors),
        "below_p90": below,
        "between_p10_and_p90": inside,
        "width": median((one.guess.at(0.9) - one.guess.at(0.1)) / one.guess.at(0.5) for one in found),
        "baselines": {name: _baseline(name, found) for name in found[0].baselines},
    }
    if split in AIMS:
        said["aim"] = {"mape": AIMS[split], "below_p90": list(BELOW_P90)}
        said["met"] = said["mape"] <= AIMS[split] and BELOW_P90[0] <= below <= BELOW_P90[1]
    elif split == "network":
        said["aim"] = {"median": said["baselines"]["time_x_limit"]["median"] / 2}
        said["met"] = said["median"] <= said["aim"]["median"]
    return said


def _baseline(name: str, found: Sequence[Predicted]) -> dict[str, float]:
    errors = [abs(one.baselines[name] / one.row.energy_j - 1) for one in found]
    return {"mape": mean(errors), "median": median(errors)}


def evaluated(path: Path) -> list[dict[str, Any]]:
    """Every split of one file; one that leaves nothing to predict is not there."""
    rows = rows_of(path)
    splits = {name: list(left_out(rows, split)) for name, split in SPLITS.items()} | {"network": list(unseen(rows))}
    return [{"file": path.name, **judged(name, found)} for name, found in splits.items() if found]


def shown(row: dict[str, Any]) -> str:
    """One line for people, with the ratio to the best baseline."""
    key = "median" if row["split"] == "network" else "mape"
    name, best = min(row["baselines"].items(), key=lambda item: float(item[1][key]))
    ratio = f"x {row[key] / best[key]:.2f} of {name}" if best[key] else ""
    met = {True: "aim met", False: "aim not met", None: "no aim"}[row.get("met")]
    figures = f"MAPE {row['mape']:6.1%}  median {row['median']:6.1%}  <= p90 {row['below_p90']:.2f}"
    return f"{row['file']:24} {row['split']:10} {row['rows']:4} rows  {figures}  {met:11}  {key} {ratio}"


def main() -> int:
    """Evaluate and print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.prediction", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with summary_power_*.csv")
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    options = parser.parse_args()
    folder = options.data or DATA
    try:
        found = [row for path in files_in(folder) for row in evaluated(path)]
    except DataError as error:
        sys.stderr.write(f"bench.prediction: {error}\n")
        return 1
    if options.data is None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "prediction.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1) if options.json else "\n".join(map(shown, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
