"""Every measurement in one run: ``make bench``, or ``python -m bench [LANE ...]`` for some of them.

A lane is a module of this folder with a ``main`` that takes nothing. It prints what it found, ratios to its peers last,
and writes bench/results; where something that it needs is missing, its last line is ``not run, because ...``. Each runs
in a process of its own, so that none measures what another left behind. Ends with 1 where a lane failed.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
NOT_RUN: Final = "not run, because "


def lanes() -> Iterator[str]:
    """The names of all lanes, sorted."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem != "__main__" and _is_lane(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.stem


def _is_lane(module: ast.Module) -> bool:
    mains = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    return any(not (main.args.args or main.args.posonlyargs or main.args.kwonlyargs) for main in mains)


def run(lane: str) -> bool:
    """Run one lane and pass on what it prints; whether it went well, or could not be run here."""
    begun = time.monotonic()
    last = ""
    sys.stdout.write(f"\n== {lane} ==\n")
    with subprocess.Popen(
        [sys.executable, "-m", f"bench.{lane}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line.strip() or last
    if process.returncode == 0 and last.startswith(NOT_RUN):
        sys.stdout.write(f"lane {lane}: {last}\n")
        return True
    ended = "ran" if process.returncode == 0 else f"failed with status {process.returncode}"
    sys.stdout.write(f"lane {lane}: {ended} in {time.monotonic() - begun:.0f} s\n")
    return process.returncode == 0


def main(wanted: Sequence[str]) -> int:
    """Run the lanes that are wanted, all where none is named; the exit status."""
    known = list(lanes())
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.stderr.write(f"there is no lane {unknown[0]}; there are {', '.join(known)}\n")
        return 2
    return 0 if all([run(lane) for lane in (wanted or known)]) else 1  # noqa: C419 -- one that fails does not stop the rest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
