"""Joulegate and its peers on the same scripted GPUs in one run: ``python -m bench.meter``.

Energy error, processor seconds an hour and peak memory, reading once a second, with 1 and 8 GPUs, with and without a
driver that is loaded again. The peers live in an environment of their own, .venv-bench, from the hashed pins of
requirements/bench.txt. Writes bench/results/meter.json and the table of docs/accuracy.md, and says where a peer wins.
Needs a C compiler and, for the peers, the package index.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.page import replace_block, table
from bench.watch import TOOLS
from tests.nvml.fleet import ALL, Event, Fleet, Gpu, Kind, compile_library

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results"
READY_S: Final = 20.0
"""By then every tool is ready, and all begin."""
_RELOAD_MS: Final = 10_000
"""So long after that the driver is loaded again."""


def peers() -> Path | None:
    """The interpreter of an environment with the peers; None where they cannot be installed."""
    done = subprocess.run([sys.executable, str(ROOT / "requirements" / "install.py"), "--bench"], check=False)
    return ROOT / ".venv-bench" / "bin" / "python" if done.returncode == 0 else None


def fleet(count: int, *, reload: bool) -> Fleet:
    """Boards of unlike load: square waves of unlike period, each with a contiguous sensor and no gain of its own."""
    boards = [
        Gpu(f"GPU-{at:08d}-0000-0000-0000-000000000000", levels=[(0, 60_000), (0, 240_000)], square=(137 + 61 * at, 70))
        for at in range(count)
    ]
    return Fleet(boards, [Event(Kind.RELOAD, ALL, 1000 * READY_S + _RELOAD_MS, 500)] if reload else [])


def surroundings(fleet: Fleet, library: Path, folder: Path) -> Mapping[str, str]:
    """What a tool finds: the fleet, an nvidia-smi for the one that looks for it, a home of its own."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    stand_in = programs / "nvidia-smi"
    stand_in.write_text("#!/bin/sh\nexit 0\n")
    stand_in.chmod(0o755)
    return {
        **fleet.environment(library, folder),
        "HOME": str(folder),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "plugin"),
        "CODECARBON_TELEMETRY": "disabled",
    }


def watched(
    python: Path,
    scripted: Fleet,
    around: Mapping[str, str],
    seconds: float,
    tools: Iterable[str] = tuple(TOOLS),
    ready_s: float = READY_S,
) -> list[dict[str, Any]]:
    """The tools at the same time, each in a process of its own, all from ``ready_s`` after the fleet's start."""
    program, begin_ns = str(ROOT / "bench" / "watch.py"), str(scripted.start_ns + round(ready_s * 1e9))
    running = [
        subprocess.Popen(
            [str(python), program, tool, str(seconds), begin_ns],
            env=around,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for tool in tools
    ]
    answers: list[dict[str, Any]] = [json.loads(one.communicate(timeout=ready_s + seconds + 120)[0]) for one in running]
    for answer in answers:
        if "energy_mj" in answer:
            first, last = answer["begin_ns"], answer["end_ns"]
            true_mj = sum(scripted.true_mj(gpu, first, last) for gpu in range(len(scripted.gpus)))
            answer["error"] = answer["energy_mj"] / true_mj - 1
            answer["cpu_s_an_hour"] = answer["cpu_s"] * 3.6e12 / (last - first)
    return answers


def shown(row: dict[str, Any]) -> str:
    """One line for people."""
    where = f"{row['gpus']} GPU, {'driver loaded again' if row['reload'] else 'undisturbed'}"
    if "failed" in row:
        return f"{where:32} {row['tool']:18} failed: {row['failed']}"
    cost = f"{row['cpu_s_an_hour']:6.1f} CPU s/h + {row['once_cpu_s']:.2f} s once  {row['peak_kib'] / 1024:6.1f} MiB"
    return f"{where:32} {row['tool']:18} error {row['error']:+8.2%}  {cost}"


def compared(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    heads = ["GPUs", "driver", "tool", "energy error", "CPU seconds an hour", "CPU seconds once", "peak memory"]
    return table(heads, (_cells(row) for row in rows))


def _cells(row: dict[str, Any]) -> list[str]:
    driver = "loaded again" if row["reload"] else "undisturbed"
    memory = f"{row['peak_kib'] / 1024:.0f} MiB"
    if "failed" in row:
        return [str(row["gpus"]), driver, row["tool"], f"no figure: `{row['failed']}`", "", "", memory]
    figures = [f"{row['error']:+.2%}", f"{row['cpu_s_an_hour']:.1f}", f"{row['once_cpu_s']:.2f}"]
    return [str(row["gpus"]), driver, row["tool"], *figures, memory]


def ratios(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Joulegate beside each peer, one line a setting and peer; where the peer has the better figure it is said."""
    lines = []
    settings = sorted({(row["gpus"], row["reload"]) for row in rows})
    for gpus, reload in settings:
        here = [row for row in rows if (row["gpus"], row["reload"]) == (gpus, reload)]
        ours = next(row for row in here if row["tool"] == "joulegate")
        where = f"{gpus} GPU{'s' if gpus > 1 else ''}, {'driver loaded again' if reload else 'undisturbed'}"
        lines += [f"{where}: {_beside(ours, row)}" for row in here if row is not ours]
    return lines


def _beside(ours: dict[str, Any], peer: dict[str, Any]) -> str:
    if "failed" in peer:
        return f"{peer['tool']} has no figure; Joulegate is {ours['error']:+.2%} off"
    said, wins = [], []
    for what, key, digits in (
        ("error", "error", ".2%"),
        ("CPU s/h", "cpu_s_an_hour", ".2f"),
        ("KiB", "peak_kib", ".0f"),
    ):
        mine, theirs = abs(ours[key]), abs(peer[key])
        said.append(
            f"{what} {mine:{digits}} against {theirs:{digits}}" + (f" (x {mine / theirs:.2g})" if theirs else "")
        )
        wins += [what] if theirs < mine else []
    won = f"; {peer['tool']} wins on {', '.join(wins)}" if wins else "; Joulegate wins on all"
    return f"against {peer['tool']}: {', '.join(said)}{won}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
        print("not run, because there is no C compiler (cc, or what CC names)")
        return
    python = peers()
    if python is None:
        print("not run, because the peers cannot be installed from requirements/bench.txt")
        return
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        library = compile_library(folder)
        for count in (1, 8):
            for reload in (False, True):
                scripted = fleet(count, reload=reload)
                for answer in watched(python, scripted, surroundings(scripted, library, folder), options.seconds):
                    rows.append({"gpus": count, "reload": reload, **answer})
                    print(shown(rows[-1]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "meter.json").write_text(json.dumps(rows, indent=1) + "\n")
    replace_block(ROOT / "docs" / "accuracy.md", "python -m bench.meter", compared(rows))
    print("\n".join(ratios(rows)))


if __name__ == "__main__":
    main()
