"""Each test runs in exactly one lane, and the runner counts without losing any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import lanes
from tests.lanes import ROOT, Lane

TESTS = ROOT / "tests"


LANES = lanes.load(TESTS / "lanes.toml")
MARKERS = [lane.marker for lane in LANES if lane.marker]
NEEDS = {lane.marker for lane in LANES if lane.marker and lane.need}

LIST_TESTS = """
import sys
import pytest

class Listing:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            print("TEST", item.path, *sorted({mark.name for mark in item.iter_markers()}))

arguments = ["--collect-only", "-qq", "-p", "no:xdist", "-p", "no:cacheprovider"]
sys.exit(pytest.main(arguments, plugins=[Listing()]))
"""


def collected(environment: str) -> list[tuple[Path, set[str]]]:
    """The file and the lane markers of every test that `environment` collects."""
    done = subprocess.run(
        [ROOT / environment / "bin/python", "-c", LIST_TESTS],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = [line for line in done.stdout.splitlines() if not line.startswith("TEST ")]
    assert done.returncode in {0, lanes.NO_TEST_COLLECTED}, "\n".join([*told, done.stderr])
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("TEST ")]
    return [(Path(row[1]), set(row[2:]) & set(MARKERS)) for row in rows]


def write_tree(root: Path, lane_table: str, tests: str) -> None:
    """A checkout with the runner, one table of lanes and one file of tests."""
    (root / "tests").mkdir()
    (root / "tests" / "lanes.py").write_text((TESTS / "lanes.py").read_text())
    (root / "tests" / "lanes.toml").write_text(
        f'[[lane]]\nname = "one"\nenvironment = "{sys.prefix}"\nworkers = 1\nfast = true\n'
        f'marker = "one"\n{lane_table}\n'
    )
    (root / "tests" / "test_it.py").write_text(f"import time, pytest\n{tests}\n")
    (root / "pytest.ini").write_text("[pytest]\nmarkers = one\n")


def run_lanes(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the runner of the tree `root` does."""
    command = [sys.executable, str(root / "tests" / "lanes.py"), *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take seconds to load
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=50)


def test_one_lane_takes_what_has_no_marker_and_names_are_unique() -> None:
    assert len(MARKERS) == len(LANES) - 1
    assert len({lane.name for lane in LANES}) == len(LANES)
    assert all(lane.because for lane in LANES if lane.need)


@pytest.mark.slow
def test_every_test_is_in_exactly_one_lane() -> None:
    places: dict[Path, set[str]] = {}
    for environment in sorted({lane.environment for lane in LANES}):
        markers = {lane.marker for lane in LANES if lane.environment == environment}
        for path, own in collected(environment):
            places.setdefault(path, set()).add(environment)
            needs = own & NEEDS
            assert len(needs) <= 1, f"{path} has tests in {needs}"
            assert (needs or own) <= markers if own else None in markers, f"{path} is not run by a lane"
    assert {path for path, where in places.items() if len(where) != 1} == set()
    assert set(TESTS.rglob("test_*.py")) - set(places) == set()


def test_lanes_select_by_need_then_by_marker_then_the_rest() -> None:
    def selection(need: tuple[str, ...], marker: str | None) -> str:
        lane = Lane(name="x", environment="e", workers=1, budget_s=1, fast=True, marker=marker, need=need)
        command = lane.command([*others, lane])
        return command[command.index("-m", 3) + 1]

    others = [
        Lane(name=name, environment="e", workers=1, budget_s=1, fast=True, marker=name, need=("true",)) for name in "ab"
    ]
    assert selection(("true",), "c") == "c"
    assert selection((), "c") == "c and not (a or b)"
    assert selection((), None) == "not (a or b)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lane_table", "tests", "status", "said", "closing"),
    [
        (
            "budget_s = 30",
            "@pytest.mark.one\ndef test_a(): pass\n@pytest.mark.one\ndef test_b(): pass",
            0,
            "lane one: ran",
            "2 passed, 0 failed",
        ),
        (
            "budget_s = 30",
            "@pytest.mark.one\ndef test_a(): assert 0\n@pytest.mark.one\ndef test_b(): pass",
            1,
            "lane one: ran",
            "1 passed, 1 failed",
        ),
        (
            "budget_s = 30",
            "@pytest.mark.one\ndef test_a(): pass\n@pytest.mark.one\ndef test_b(): pytest.skip()",
            0,
            "lane one: ran",
            "1 passed, 0 failed, 1 skipped",
        ),
        (
            "budget_s = 30",
            "def test_of_another_lane(): pass",
            1,
            "lane one: failed, because its need is met, but it collected no test",
            "0 passed, 1 failed",
        ),
        (
            "budget_s = 30",
            "import a_module_that_is_not_there",
            1,
            "lane one: ran",
            "0 passed, 1 failed",
        ),
        (
            'budget_s = 30\nprepare = ["false"]',
            "@pytest.mark.one\ndef test_a(): pass",
            1,
            "lane one: failed, because what its tests need could not be made",
            "0 passed, 1 failed",
        ),
        (
            "budget_s = 1",
            "@pytest.mark.one\ndef test_a(): time.sleep(40)",
            1,
            "lane one: failed, because stopped after 3 times its budget of 1 s",
            "0 passed, 1 failed",
        ),
        (
            'budget_s = 30\nneed = ["false"]\nbecause = "it is dark"',
            "@pytest.mark.one\ndef test_a(): pass",
            1,
            "lane one: not run, because it is dark",
            "0 passed, 0 failed",
        ),
    ],
    ids=["passes", "fails", "skips", "collects none", "cannot load", "cannot prepare", "takes too long", "no need"],
)
@pytest.mark.slow
def test_the_runner_tells_what_a_lane_did(
    tmp_path: Path, lane_table: str, tests: str, status: int, said: str, closing: str
) -> None:
    write_tree(tmp_path, lane_table, tests)
    done = run_lanes(tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout
    assert done.stdout.splitlines()[-1] == closing


def test_a_lane_that_is_not_there_is_refused() -> None:
    done = run_lanes(ROOT, "no-such-lane")
    assert done.returncode == 2
    assert "no lane is called no-such-lane" in done.stderr
