"""`python -m bench.prediction`: what is left out is not seen, the aims are judged, and bad data has a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.prediction import AIMS, BELOW_P90, DATA, SPLITS, evaluated, left_out, rows_of

ROOT = Path(__file__).parents[2]
HEAD = "dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power"
COLUMNS = {"file", "split", "rows", "mape", "median", "below_p90", "between_p10_and_p90", "width", "baselines"}


def written(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "summary_power_x.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def flat(folder: Path) -> Path:
    """Two networks whose energy hardly depends on anything."""
    rows = [
        f"d,{network},{batch},adam,{limit},{100 + batch / 50},{0.8 * limit}"
        for network in ("a", "b")
        for batch in (8, 16, 32, 64)
        for limit in (100, 150, 200)
    ]
    return written(folder, *rows)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bench.prediction", *words]
    return subprocess.run(line, cwd=ROOT, check=False, capture_output=True, text=True)


def test_every_file_and_split_is_one_object(tmp_path: Path) -> None:
    flat(tmp_path)
    done = command("--data", str(tmp_path), "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert [row["split"] for row in found] == [*SPLITS, "network"]
    assert all(set(row) >= COLUMNS for row in found)
    assert {row["split"] for row in found if "met" in row} == {*AIMS, "network"}
    assert done.returncode == 0


def test_a_split_counts_what_it_leaves_out(tmp_path: Path) -> None:
    counts = {row["split"]: row["rows"] for row in evaluated(flat(tmp_path))}
    assert counts == {"row": 24, "limit": 24, "batch": 12, "batch-edge": 12, "network": 24}


def test_what_is_left_out_is_not_seen(tmp_path: Path) -> None:
    """A row of another order than its neighbours is predicted by them, not by itself."""
    path = written(tmp_path, *(f"d,a,{2**at},adam,100,{1e6 if at == 3 else 10},50" for at in range(7)))
    odd = next(one for one in left_out(rows_of(path), SPLITS["row"]) if one.row.time_s > 1e5)
    assert odd.guess.at(0.9) < 1e4


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("d,a,8,adam,100,1", ":2: average_power is None, not a number"),
        ("d,a,8,adam,100,1,much", ":2: average_power is 'much', not a number"),
        ("d,a,8,adam,100,-1,50", ":2: time_per_epoch is '-1', not above zero"),
        ("d,a,nan,adam,100,1,50", ":2: batch_size is 'nan', not above zero"),
    ],
)
def test_bad_data_is_one_line_with_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    written(tmp_path, row)
    done = command("--data", str(tmp_path), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"bench.prediction: {tmp_path / 'summary_power_x.csv'}{said}\n"


def test_a_folder_without_data_says_so(tmp_path: Path) -> None:
    done = command("--data", str(tmp_path))
    assert done.returncode == 1
    assert "there is no summary_power_*.csv" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("board", ["a40", "v100"])
def test_the_aims_are_met_where_the_network_is_known(board: str) -> None:
    for row in evaluated(DATA / f"summary_power_{board}.csv"):
        if row["split"] in AIMS:
            assert row["mape"] <= AIMS[row["split"]], row["split"]
            assert BELOW_P90[0] <= row["below_p90"] <= BELOW_P90[1], row["split"]
            assert row["mape"] < row["baselines"]["three_nearest"]["mape"] < row["baselines"]["time_x_limit"]["mape"]
