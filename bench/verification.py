"""How long `joulegate verify` takes for a bundle of a million entries, and how much memory.

    python -m bench.verification [--entries N] [--records N] [--batches N] [--out FILE]

The bundle is made first, in a folder that is removed afterwards; the command is measured as a
process of its own. Most entries are decisions as the ledger writes them, some are records, and some are batches
of windows: each a day of one accelerator, whose sums and prices are computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.plugin.bundled import Log, lines_of, write_bundle

RESULT = Path(__file__).parent / "results" / "verification.json"
AIM_S = 60.0
AIM_BYTES = 1 << 30


A_DAY = 96
"""Windows of a batch: a quarter-hour each."""


def measure(entries: int, records: int, batches: int) -> dict[str, Any]:
    """Make a bundle and verify it once."""
    with tempfile.TemporaryDirectory() as place:
        log = Log()
        folder = write_bundle(Path(place) / "bundle", log, lines_of(log, entries, records, batches, A_DAY))
        size = sum(path.stat().st_size for path in folder.iterdir())
        command = [
            str(Path(sys.executable).with_name("joulegate")),
            "verify",
            str(folder),
            "--key",
            str(log.key.verifier),
        ]
        begin = time.monotonic()
        with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE) as process:
            output = process.stdout.read() if process.stdout else b""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - begin
    verdict = json.loads(output)
    return {
        "entries": verdict["tree_size"],
        "records": records,
        "windows": batches * A_DAY,
        "bundle_bytes": size,
        "verdict": verdict["verdict"],
        "exit_code": process.returncode,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_bytes": usage.ru_maxrss * 1024,
        "aim_s": AIM_S,
        "aim_bytes": AIM_BYTES,
    }


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=1_000, help="of windows, a day of one accelerator each")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    found = measure(asked.entries, asked.records, asked.batches)
    text = json.dumps(found, indent=2)
    print(text)
    asked.out.write_text(text + "\n", encoding="utf-8")
    return 0 if found["exit_code"] == 0 and found["wall_s"] <= AIM_S and found["peak_bytes"] <= AIM_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
