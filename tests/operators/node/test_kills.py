"""F1: a meter killed at any named point goes on, and every pod gets what it gets without the kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.operators.node.doubles import Api
from tests.operators.node.test_wal import numbers

ROOT = Path(__file__).parents[3]

POINTS = [
    *(f"windows.{point}" for point in ("before", "piece", "written", "durable")),
    *(f"marks.{point}" for point in ("before", "piece", "written", "durable")),
    *(f"tape.{point}" for point in ("before", "piece", "written", "beginning", "begun", "turned")),
    *(f"wal.{point}" for point in ("appended", "segment", "segment_durable", "marked_sent")),
    *(f"wal.{point}" for point in ("acknowledging", "acknowledged", "removing", "folding", "folded")),
    *(f"ship.{point}" for point in ("before", "answered", "set_aside")),
    *(f"meter.{point}" for point in ("sampled", "noted", "collected", "written")),
]


REFUSED = "a4"
"""A pod whose windows the API refuses until the end."""


def live(folder: Path, address: str, *point: str) -> int:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.operators.node.world", str(folder), address, *point]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


def by_pod(api: Api) -> Counter[str | None]:
    totals: Counter[str | None] = Counter()
    for row in api.rows():
        totals[row["pod_uid"]] += int(row["active_mj"] or 0) + int(row["idle_mj"] or 0)
    return totals


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Counter[str | None], set[str]]:
    api, folder = Api(refused_pods={REFUSED}), tmp_path_factory.mktemp("undisturbed")
    with api.serving() as address:
        assert live(folder, address) == 0
        reached = set((folder / "points").read_text().split())
        api.refused_pods.clear()
        assert live(folder, address) == 0
    return by_pod(api), reached


@pytest.mark.slow
def test_the_points_are_all_there_are(undisturbed: tuple[Counter[str | None], set[str]]) -> None:
    assert len(POINTS) >= 20
    assert undisturbed[1] == set(POINTS)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", POINTS)
def test_f1_killed_at_a_named_point_nothing_is_lost_and_nothing_counted_twice(
    point: str, tmp_path: Path, undisturbed: tuple[Counter[str | None], set[str]]
) -> None:
    api = Api(refused_pods={REFUSED})
    with api.serving() as address:
        for count in (1, 3):
            live(tmp_path / "node", address, f"{point}:{count}")
        assert live(tmp_path / "node", address) == 0
        assert by_pod(api)[REFUSED] == 0
        api.refused_pods.clear()
        assert live(tmp_path / "node", address) == 0  # a start sends again what was refused
    assert api.conflicts == []
    assert by_pod(api) == undisturbed[0]
    assert by_pod(api)[REFUSED] > 0
    (rows,) = api.windows.values()
    assert numbers(list(rows.values())) == list(range(max(numbers(list(rows.values()))) + 1))
