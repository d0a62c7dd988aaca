"""Bundles made of entries alone, of any size, for tests and measurements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from joulegate import bundles, signing
from joulegate.core.audit import Query
from joulegate.core.checkpoints import Checkpoint, Note
from joulegate.core.encoding import encode
from joulegate.core.footprint import Footprint
from joulegate.core.log import Entry, EntryType, canonical, envelope
from joulegate.core.merkle import Frontier, leaf_hash
from joulegate.core.periods import Period, format_instant
from joulegate.core.recount import Recount, Reported
from joulegate.verification import manifest_of
from tests.plugin.core import audited

ORIGIN = "joulegate/test/default"
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
QUERY = Query(Period(BEGIN, BEGIN + timedelta(days=1)), None)


@dataclass(slots=True)
class Log:
    """A log being written by a few writers in turn."""

    key: signing.SigningKey = field(default_factory=lambda: signing.new_key(ORIGIN))
    writers: int = 4
    tree: Frontier = field(default_factory=Frontier)
    chains: dict[int, tuple[int, str]] = field(default_factory=dict)
    batches: list[bytes] = field(default_factory=list)

    def line(self, kind: EntryType, name: str, body: dict[str, Any], at: datetime = BEGIN) -> bytes:
        """The canonical bytes of the next entry."""
        writer = self.tree.size % self.writers
        seq, previous = self.chains.get(writer, (0, None))
        data = envelope(Entry("default", kind, name, format_instant(at), body, f"writer/{writer}", 1, seq, previous))
        digest = leaf_hash(data)
        self.tree.append(digest)
        self.chains[writer] = (seq + 1, digest.hex())
        return data

    def windows(self, number: int, size: int = 4) -> bytes:
        """The entry of a batch of a meter's windows, charged to a budget by energy alone; the batch is kept beside."""
        rows = [window_body(number * size + index) for index in range(size)]
        batch = canonical(rows)
        self.batches.append(batch)
        return self.line(EntryType.WINDOWS, f"node:log/{number * size}", charged_body(rows, leaf_hash(batch).hex()))

    def key_event(self) -> bytes:
        """The entry of the first key."""
        vkey = str(self.key.verifier)
        statement = signing.key_statement(vkey, None)
        note = str(Note(statement, (self.key.sign(statement),)))
        return self.line(EntryType.KEY_EVENT, vkey, {"key": vkey, "after": None, "statement": note})


def decision(number: int) -> dict[str, Any]:
    """The body of a refusal or an allowance as the ledger writes it."""
    allowed = number % 3 == 0
    verdict = {
        "allowed": allowed,
        "outcome": "allow" if allowed else "deny",
        "reason": "WithinBudget" if allowed else "BudgetExhausted",
        "budget": "vision",
        "unit": "mj",
        "currency": None,
        "asked": str(100_000_000 + number),
        "available": str(90_000_000),
        "fits": str(90_000_000),
        "basis": "prior",
        "n": 0,
        "hold": f"hold-{number}" if allowed else None,
        "as_of": format_instant(BEGIN + timedelta(seconds=number % 86_000)),
    }
    claim = {"mj": "100000000", "ug": "48000000", "micros": "12000"}
    key = {"budget": "vision", "period_start": format_instant(BEGIN), "enforcement": "Deny"}
    return {
        "cluster": "local",
        "root_uid": f"4f0c3d0e-0000-4000-8000-{number:012d}",
        "resource": "jobs",
        "namespace": "vision",
        "name": f"train-{number}",
        "held": allowed,
        "verdict": verdict,
        "claims": [{**key, "asked": claim, "available": claim}],
    }


def record_body(number: int) -> dict[str, Any]:
    """The body of a record without rates: its energy is known, its carbon and money are not."""
    fact = audited.fact(audited.record(str(number), [3_600_000 + number]), audited.NO_RATES)
    told = [
        {
            "device_uuid": part.device_uuid,
            "gpu_model": part.gpu_model,
            "boundary": part.boundary.value,
            "quarter": format_instant(part.quarter),
            "gpu_ns": str(part.gpu_ns),
            "missing_ns": str(part.missing_ns),
            "footprint": encode(Footprint(part.footprint.energy, None, None, None)),
            "rates": dict.fromkeys(("site", "location", "market", "price")),
        }
        for part in fact.slices
    ]
    body = {"record": encode(fact.record), "slices": told, "charges": [], "charged": False, "budgets": []}
    return body | {"self_reported": True, "principal": "p"}


def window_body(seq: int) -> dict[str, Any]:
    """A window of a quarter-hour as it is kept and hashed."""
    begin = BEGIN + timedelta(minutes=15 * (seq % 96))
    return {
        "window_seq": seq,
        "device_uuid": f"GPU-{seq // 96}",
        "start": format_instant(begin),
        "end": format_instant(begin + timedelta(minutes=15)),
        "energy_start_mj": str(90_000_000 * seq),
        "energy_end_mj": str(90_000_000 * (seq + 1)),
        "active_mj": "80000000",
        "idle_mj": str(1_000_000 + seq),
        "allocated_gpu_ns": "900000000000",
        "method": "nvml_counter",
        "boundary": "accelerator",
        "pod_uid": "pod-1",
        "namespace": "vision",
    }


def charged_body(rows: list[dict[str, Any]], digest: str) -> dict[str, Any]:
    """The body of an entry of a batch: no rate is known, so that only energy is charged."""
    energy_mj = sum(int(row["active_mj"]) + int(row["idle_mj"]) for row in rows)
    charge = {"budget": "vision", "period_start": format_instant(BEGIN), "currency": None, "corrects_period": None}
    nothing = {"mj": "0", "ug": "0", "micros": "0"}
    return {
        "cluster": "local",
        "node": "node",
        "incarnation": "node:log",
        "seqs": [row["window_seq"] for row in rows],
        "batch_hash": digest,
        "charges": [{**charge, "posted": {"mj": str(energy_mj), "ug": None, "micros": None}, "pending": nothing}],
        "priced": {
            "budgets": {"pod-1": ["vision"]},
            "rates": [
                {"device_uuid": row["device_uuid"], "quarter": row["start"], "rates": [None] * 4} for row in rows
            ],
            "before": [],
        },
    }


def lines_of(log: Log, count: int, records: int = 3, batches: int = 0, size: int = 4) -> Iterator[bytes]:
    """At least ``count`` entries, the key's first: records, batches of ``size`` windows, and decisions otherwise."""
    yield log.key_event()
    for number in range(records):
        yield log.line(EntryType.RECORD, f"record-{number}", record_body(number))
    for number in range(batches):
        yield log.windows(number, size)
    for number in range(count - records - batches - 2):
        yield log.line(EntryType.DECISION, f"hold-{number}", decision(number))


def write_bundle(folder: Path, log: Log, lines: Iterable[bytes]) -> Path:
    """A bundle of these entries as a folder; the report's own entry comes last."""
    folder.mkdir()
    reported = Reported(QUERY, BEGIN + timedelta(days=2), BEGIN + timedelta(days=2), "joulegate test")
    recount, batches = Recount(reported), count()
    with (folder / bundles.ENTRIES).open("wb") as file:
        for line in lines:
            file.write(line + b"\n")
            read = _quick(line)
            recount.add(read["type"], read["at"], read["body"])
            if read["type"] == EntryType.WINDOWS:
                recount.add_windows(read["at"], read["body"], json.loads(log.batches[next(batches)]))
        report = recount.report()
        told = encode(reported)
        body = {"digest": report.digest, **{name: told[name] for name in ("query", "as_of", "software")}}
        file.write(log.line(EntryType.REPORT, "report", body, reported.priced_by) + b"\n")
    head = Checkpoint(ORIGIN, log.tree.size, log.tree.root())
    (folder / bundles.CHECKPOINT).write_text(str(signing.signed(head, [log.key])), encoding="utf-8")
    (folder / bundles.KEYS).write_text(f"{log.key.verifier}\n", encoding="utf-8")
    (folder / bundles.REPORT).write_bytes(canonical(encode(report)) + b"\n")
    (folder / bundles.WINDOWS).write_bytes(b"".join(batch + b"\n" for batch in log.batches))
    members = {name: _hashed(folder / name) for name in bundles.MEMBERS if name != bundles.MANIFEST}
    (folder / bundles.MANIFEST).write_bytes(manifest_of(head, "report", reported, members))
    return folder


def zipped(folder: Path, path: Path) -> Path:
    """A folder as a canonical zip."""
    with path.open("wb") as file:
        bundles.write_zip(file, ((name, [(folder / name).read_bytes()]) for name in bundles.MEMBERS))
    return path


def _hashed(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest(), path.stat().st_size


def _quick(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found
