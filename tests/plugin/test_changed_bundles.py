"""Every name, value and byte of a bundle that the service made is covered, whoever holds what.

The bundle has every kind of entry that a figure comes from: windows of node meters and records, priced at once, later
and anew, rates, certificates, decisions, a rotated key. Three persons change it: one changes a member; one makes the
manifest follow; one, who has the signing key, makes all follow. Against the last helps only what was taken away before.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from joulegate import bundles, signing
from joulegate.core.checkpoints import Checkpoint, read_checkpoint, read_note
from joulegate.core.encoding import decode, encode
from joulegate.core.errors import InvalidInputError
from joulegate.core.leaves import Leaves
from joulegate.core.log import canonical
from joulegate.core.merkle import leaf_hash
from joulegate.core.recount import Reported
from joulegate.verification import Given, recount_of, verify
from tests.api.conftest import sqlite_service, sqlite_template, sqlite_url
from tests.api.running import FACTORS, Service, job, record, review
from tests.api.test_market import INSTRUMENT
from tests.api.test_windows import sent, window
from tests.plugin.test_audit_by_hand import wrote
from tests.plugin.test_verification import MUTATIONS, is_caught

__all__ = ["sqlite_service", "sqlite_template", "sqlite_url"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ASKED = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
TOLD = {"windows", "windows_repriced", "record", "pricing", "repricing", "intensity_set", "decision", "instrument_set"}
Members = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle's members, its signing key, and what an auditor has from before: an anchor and an earlier bundle."""

    folder: Path
    members: Members
    keys: tuple[signing.SigningKey, ...]
    given: Given

    def is_caught(self, changed: Members, given: Given | None = None) -> bool:
        for name in bundles.MEMBERS:
            if changed[name] != self.members[name]:
                (self.folder / name).write_bytes(changed[name])
        caught = is_caught(self.folder, given or self.given)
        for name in bundles.MEMBERS:
            if changed[name] != self.members[name]:
                (self.folder / name).write_bytes(self.members[name])
        return caught


def bundle(service: Service, path: Path) -> Path:
    made = service.post("/v1/reports", ASKED).json()
    path.write_bytes(service.get(f"/v1/reports/{made['id']}.bundle").content)
    return path


@pytest.fixture
def taken(sqlite_service: Service, tmp_path: Path) -> Taken:
    service = sqlite_service
    assert service.post("/v1/records", record("early")).status_code == 201  # before any rate is known
    wrote(service)
    service.store.pricing.price_unpriced()
    changed: dict[str, Any] = copy.deepcopy(dict(FACTORS))
    changed["rows"][0] |= {"ug_per_kwh": "390000000", "valid_from": "2026-11-02T00:00:00Z"}
    changed["rows"][0]["reference"]["version"] = "2026-3"
    service.put("/v1/factors", changed)
    since, until = (datetime.fromisoformat(ASKED[name]) for name in ("since", "until"))
    service.store.pricing.reprice(since, until, "alice", "a better factor")
    service.put("/v1/instruments", {"rows": [INSTRUMENT]})
    service.post("/v1/admission/validate", review(job()))
    previous = bundle(service, tmp_path / "previous.zip")
    shutil.copyfile(tmp_path / "log" / "anchor" / "checkpoint", tmp_path / "anchor")
    key = str(service.context.keeper.keys()[0].verifier)
    service.context.keeper.rotate()
    later = {"start": "2026-11-20T09:00:00Z", "end": "2026-11-20T09:01:00Z", "window_seq": 5}
    counter = {"energy_start_mj": "5900000000", "energy_end_mj": "5906000000"}
    assert sent(service, window(0, **later, **counter)) == {"accepted_seq": 5, "quarantined": []}
    with zipfile.ZipFile(bundle(service, tmp_path / "taken.zip")) as archive:
        archive.extractall(tmp_path / "folder")
    members = {name: (tmp_path / "folder" / name).read_bytes() for name in bundles.MEMBERS}
    given = Given(key, previous=previous, anchor=tmp_path / "anchor")
    found = Taken(tmp_path / "folder", members, service.context.keeper.keys(), given)
    verdict = verify(found.folder, given)
    assert [(check.name, check.faults) for check in verdict.checks if not check.passed] == []
    assert verdict.good
    told = {
        "windows",
        "windows_repriced",
        "record",
        "pricing",
        "repricing",
        "intensity_set",
        "decision",
        "instrument_set",
    }
    assert told <= set(verdict.told)
    assert json.loads(members[bundles.REPORT])["settled"]
    return found


def followed(members: Members) -> Members:
    """The same with a manifest that has the sizes and hashes of the others."""
    manifest = json.loads(members[bundles.MANIFEST])
    for name, told in manifest["members"].items():
        told |= {"sha256": sha256(members[name]).hexdigest(), "size": str(len(members[name]))}
    return members | {bundles.MANIFEST: canonical(manifest) + b"\n"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand, those that hold others too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def other(value: Any) -> Any:
    """Another value of the same kind, as near as can be."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return str(int(value) + 1) if value.isdigit() else value + "x"
    return type(value)() if value else [None]


def variants(document: Any) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    """A document with one value changed, left out, renamed or twice, each in turn."""
    for path in list(places(document)):
        for way in ("another value", "left out", "renamed or twice"):
            changed = copy.deepcopy(document)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]
            if way == "another value":
                parent[path[-1]] = other(parent[path[-1]])
            elif way == "left out":
                del parent[path[-1]]
            elif isinstance(parent, dict):
                parent[f"{path[-1]}x"] = parent.pop(path[-1])
            else:
                parent.insert(path[-1], parent[path[-1]])
            yield path, way, changed


def by_line(members: Members, name: str) -> Iterator[tuple[str, bytes]]:
    """A member with one thing of the JSON of one of its lines changed."""
    lines = members[name].splitlines(keepends=True)
    for number, line in enumerate(lines):
        for path, way, changed in variants(json.loads(line)):
            data = canonical(changed) + b"\n"
            yield f"{name} line {number} {path}: {way}", b"".join([*lines[:number], data, *lines[number + 1 :]])


def test_every_name_and_value_is_covered_though_the_manifest_follows(taken: Taken) -> None:
    made, missed, pinned = 0, [], Given(taken.given.key)
    for name in (bundles.ENTRIES, bundles.WINDOWS, bundles.REPORT, bundles.MANIFEST):
        for what, data in by_line(taken.members, name):
            changed = taken.members | {name: data}
            made += 1
            if not taken.is_caught(changed if name == bundles.MANIFEST else followed(changed), pinned):
                missed.append(what)
    assert missed == []
    assert made >= 5_000


def test_every_member_is_covered_byte_by_byte_though_the_manifest_follows(taken: Taken) -> None:
    chance = random.Random(20261125)  # noqa: S311 -- changes are drawn, not secrets
    made, missed, pinned = 0, [], Given(taken.given.key)
    for name in bundles.MEMBERS:
        for mutation in MUTATIONS:
            for number in range(40):
                data = mutation(taken.members[name], chance)
                changed = taken.members | {name: data}
                if data == taken.members[name]:
                    continue
                made += 1
                if not taken.is_caught(changed if name == bundles.MANIFEST else followed(changed), pinned):
                    missed.append(f"{name}: {mutation.__name__} {number}")
    assert missed == []
    assert made >= 1_600


def rewritten(taken: Taken, entries: list[Any], batches: list[Any]) -> Members:
    """What the holder of the key makes of changed entries and windows: hashes, chains, report, signatures follow."""
    hashes = iter([leaf_hash(canonical(batch)).hex() for batch in batches])
    reported = decode(Reported, json.loads(taken.members[bundles.MANIFEST])["reported"])
    head = read_checkpoint(read_note(taken.members[bundles.CHECKPOINT].decode()))
    leaves = Leaves("default", recount_of(reported), ())
    now: dict[str, str] = {}
    lines = []
    for old, entry in zip(taken.members[bundles.ENTRIES].splitlines(), entries, strict=True):
        entry["previous"] = entry["previous"] and now[entry["previous"]]
        if entry["type"] == "windows":
            entry["body"]["batch_hash"] = next(hashes)
        if entry["type"] == "report" and entry["id"] == json.loads(taken.members[bundles.MANIFEST])["report_id"]:
            for (_, at, body), batch in zip(leaves.batches, batches, strict=True):
                leaves.recount.add_windows(at, body, batch)
            report = leaves.recount.report()
            entry["body"]["digest"] = report.digest
        lines.append(canonical(entry))
        leaves.add(lines[-1])
        now[leaf_hash(old).hex()] = leaf_hash(lines[-1]).hex()
    note = str(signing.signed(Checkpoint(head.origin, leaves.tree.size, leaves.tree.root()), taken.keys))
    manifest = json.loads(taken.members[bundles.MANIFEST]) | {"root": leaves.tree.root().hex()}
    made = {
        bundles.ENTRIES: b"".join(line + b"\n" for line in lines),
        bundles.WINDOWS: b"".join(canonical(batch) + b"\n" for batch in batches),
        bundles.REPORT: canonical(encode(report)) + b"\n",
        bundles.CHECKPOINT: note.encode(),
        bundles.MANIFEST: canonical(manifest) + b"\n",
    }
    return followed(taken.members | made)


def test_whoever_has_the_signing_key_is_found_by_what_was_published_before(taken: Taken) -> None:
    """Every amount and word that lies before the anchor, changed in turn; alone, such a bundle can pass."""
    read = {
        name: [json.loads(line) for line in taken.members[name].splitlines()]
        for name in (bundles.ENTRIES, bundles.WINDOWS)
    }
    assert rewritten(taken, copy.deepcopy(read[bundles.ENTRIES]), read[bundles.WINDOWS]) == taken.members
    assert taken.given.anchor is not None
    before = read_checkpoint(read_note(taken.given.anchor.read_text(encoding="utf-8"))).size
    told = Given(taken.given.key), Given(taken.given.key, anchor=taken.given.anchor)
    made, missed, unseen = 0, [], 0
    for name, parts in ((bundles.ENTRIES, before), (bundles.WINDOWS, len(read[bundles.WINDOWS]) - 1)):
        for number in range(parts):
            whole = read[name][number]
            within = [path for path in places(whole) if name == bundles.WINDOWS or path[0] in ("at", "body", "id")]
            for path in within[:: 3 if name == bundles.ENTRIES else 2]:
                changed = copy.deepcopy(read)
                parent = changed[name][number]
                for step in path[:-1]:
                    parent = parent[step]
                parent[path[-1]] = other(parent[path[-1]])
                try:
                    members = rewritten(taken, changed[bundles.ENTRIES], changed[bundles.WINDOWS])
                except (InvalidInputError, KeyError, StopIteration, ValueError):
                    continue  # no report comes of it
                if members == taken.members:
                    continue  # a hash that follows from others
                made += 1
                unseen += not taken.is_caught(members, told[0])
                if not (taken.is_caught(members, told[1]) and taken.is_caught(members)):
                    missed.append(f"{name} line {number} {path}")
    assert missed == []
    assert made >= 200
    assert unseen > 0, "else the anchor would not be needed"
