"""Runs the lanes of tests/lanes.toml that this machine can run and counts what they did.

    python tests/lanes.py [--fast] [NAME ...]

Prints `lane NAME: ran ...` or `lane NAME: not run, because ...` for each lane, and as its last
line `N passed, N failed`. Ends with 1 when a test failed, when a lane whose need is met collected
no test, or when one had to be stopped.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NEED_TIMEOUT_S = 60
GRACE_S = 10
PATIENCE = 3  # budgets are for two idle cores; a busy machine may take so many times as long
NO_TEST_COLLECTED = 5  # pytest's exit status


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One table of lanes.toml, where the fields are explained; `budget_s` is in seconds."""

    name: str
    environment: str
    workers: int
    budget_s: int
    fast: bool
    marker: str | None = None
    paths: tuple[str, ...] = ()
    need: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    because: str = ""

    def is_possible(self) -> bool:
        """Whether the command that proves the lane's need succeeds here."""
        if not self.need:
            return True
        try:
            proof = subprocess.run(self.need, cwd=ROOT, check=False, capture_output=True, timeout=NEED_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return proof.returncode == 0

    def command(self, lanes: Sequence["Lane"]) -> list[str]:
        """What runs the lane's tests; `lanes` are all lanes.

        A need decides before everything else: a slow test that needs PostgreSQL is in the lane of
        PostgreSQL. What is left is in the lane of its marker, or else in the one without a marker.
        """
        above = [] if self.need else [lane.marker for lane in lanes if lane.marker and (lane.need or not self.marker)]
        parts = [self.marker, f"not ({' or '.join(above)})" if above else None]
        selection = " and ".join(part for part in parts if part)
        command = [f"{self.environment}/bin/python", "-m", "pytest", "-q", "-m", selection]
        if self.workers > 1:
            command += ["-n", str(self.workers), "--dist", "worksteal"]
        return command + list(self.paths)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a lane did: numbers of tests, and `faults`, which no test tells of."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    faults: tuple[str, ...] = ()


def load(path: Path) -> list[Lane]:
    """The lanes of the file `path`, in its order."""
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["lane"]
    for table in tables:
        for name in {"paths", "need", "prepare"} & table.keys():
            table[name] = tuple(table[name])
    return [Lane(**table) for table in tables]


def counted(report: Path) -> Outcome:
    """The numbers in a JUnit file; no number where pytest did not get as far as writing one."""
    if not report.exists():
        return Outcome(faults=("pytest wrote no report",))
    suite = next(ET.parse(report).iter("testsuite"))  # noqa: S314 -- our own pytest wrote it
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    passed = max(int(suite.get("tests", 0)) - failed - skipped, 0)
    return Outcome(passed=passed, failed=failed, skipped=skipped)


def judged(outcome: Outcome, status: int | None, budget_s: int) -> Outcome:
    """The outcome with what the process itself tells: `status`, or None when it was stopped."""
    faults = outcome.faults
    if status is None:
        faults = (f"stopped after {PATIENCE} times its budget of {budget_s} s",)
    elif status == NO_TEST_COLLECTED:
        faults = ("its need is met, but it collected no test",)
    elif status != 0 and outcome.failed == 0 and not faults:
        faults = (f"pytest ended with status {status}",)
    return Outcome(passed=outcome.passed, failed=outcome.failed, skipped=outcome.skipped, faults=faults)


def run_within(command: Sequence[str], budget_s: int) -> int | None:
    """The exit status of `command`, or None when it had to be stopped after `budget_s` seconds."""
    # Options of the caller's shell could leave tests out without a word.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            return process.wait(budget_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            return None
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            raise


def prepared(lane: Lane) -> Outcome | None:
    """The fault of a lane whose `prepare` failed; None where its tests can begin."""
    status = run_within(lane.prepare, PATIENCE * lane.budget_s) if lane.prepare else 0
    if status is None:
        return judged(Outcome(), status, lane.budget_s)
    return Outcome(faults=("what its tests need could not be made",)) if status else None


def tested(lane: Lane, lanes: Sequence[Lane], begun: float) -> Outcome:
    """What the tests of a lane did in what is left of its budget; `begun` is a monotonic time in seconds."""
    left_s = max(PATIENCE * lane.budget_s - int(time.monotonic() - begun), 1)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        status = run_within([*lane.command(lanes), f"--junitxml={report}"], left_s)
        return judged(counted(report), status, lane.budget_s)


def run(lane: Lane, lanes: Sequence[Lane]) -> Outcome | None:
    """Runs one lane and says so; None where this machine cannot run it."""
    if not lane.is_possible():
        print(f"lane {lane.name}: not run, because {lane.because}", flush=True)
        return None
    begun = time.monotonic()
    outcome = prepared(lane) or tested(lane, lanes, begun)
    seconds = time.monotonic() - begun
    print(
        f"lane {lane.name}: ran in {seconds:.0f} s: {outcome.passed} passed, "
        f"{outcome.failed} failed, {outcome.skipped} skipped"
        + (f"; over its budget of {lane.budget_s} s" if seconds > lane.budget_s else ""),
        flush=True,
    )
    for fault in outcome.faults:
        print(f"lane {lane.name}: failed, because {fault}", flush=True)
    return outcome


def main(arguments: Sequence[str]) -> int:
    """Runs the lanes asked for and prints the closing line; returns the exit status."""
    # A shell that starts this in the background, or `nohup`, has some ignored, and every test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    lanes = load(ROOT / "tests" / "lanes.toml")
    parser = argparse.ArgumentParser(description="Run lanes of tests.", allow_abbrev=False)
    parser.add_argument("--fast", action="store_true", help="only the lanes that are quick")
    parser.add_argument("name", nargs="*", help=", ".join(lane.name for lane in lanes))
    asked = parser.parse_args(arguments)
    unknown = set(asked.name) - {lane.name for lane in lanes}
    if unknown:
        parser.error(f"no lane is called {', '.join(sorted(unknown))}")
    outcomes = [
        run(lane, lanes)
        for lane in lanes
        if (not asked.name or lane.name in asked.name) and (lane.fast or not asked.fast)
    ]
    ran = [outcome for outcome in outcomes if outcome is not None]
    passed = sum(outcome.passed for outcome in ran)
    failed = sum(outcome.failed + len(outcome.faults) for outcome in ran)
    skipped = sum(outcome.skipped for outcome in ran)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
