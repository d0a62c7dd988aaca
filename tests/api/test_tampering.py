"""T3: who can change what is in the log. The service's own statements cannot; what a superuser did, verify finds.

What was published before the change is what proves it: an anchor, or an earlier bundle.
What a superuser changes between two anchors, with the signing key at hand, nobody can prove.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate.verification import Given, verify
from tests.api.running import Service, budget, record
from tests.api.store.superuser import disarm, execute

ASKED = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}

EDITS = {
    "an entry's body": ["UPDATE entries SET data = leaf_hash WHERE type = 'record'"],
    "an entry's body and hash": [
        "UPDATE entries SET data = {forged}, leaf_hash = {hash} WHERE type = 'record'",
        "UPDATE log_leaves SET leaf_hash = {hash} WHERE leaf_index = 1",
    ],
    "an entry taken out": ["DELETE FROM entries WHERE type = 'record'"],
    "the order of two": [
        "UPDATE log_leaves SET leaf_index = 99 WHERE leaf_index = 0",
        "UPDATE log_leaves SET leaf_index = 0 WHERE leaf_index = 1",
        "UPDATE log_leaves SET leaf_index = 1 WHERE leaf_index = 99",
    ],
    "a leaf": ["UPDATE log_leaves SET leaf_hash = {hash} WHERE leaf_index = 0"],
    "the head": ["UPDATE log_heads SET peaks = {peaks}"],
    "the end of the log": [
        "DELETE FROM log_leaves WHERE leaf_index >= 2",
        "UPDATE log_heads SET size = 2, peaks = {hash}",
    ],
}


@pytest.fixture
def published(service: Service, tmp_path: Path) -> Service:
    """A service with an anchored log and a bundle that an auditor took away."""
    service.context.keeper.make_key("test")
    service.put("/v1/budgets/vision", budget())
    for name in ("r1", "r2"):
        service.post("/v1/records", record(name))
    made = service.post("/v1/reports", ASKED).json()
    (tmp_path / "taken.zip").write_bytes(service.get(f"/v1/reports/{made['id']}.bundle").content)
    shutil.copyfile(tmp_path / "log" / "anchor" / "checkpoint", tmp_path / "anchor")
    return service


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
def test_the_service_itself_can_change_none_of_it(published: Service, edits: list[str]) -> None:
    for edit in [edit for edit in edits if "log_heads" not in edit][:1]:  # the head moves on with each entry
        with pytest.raises(UnavailableError, match="only ever added to"):
            execute(published.store, filled(published, edit))


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
def test_what_a_superuser_changed_is_found(published: Service, tmp_path: Path, edits: list[str]) -> None:
    """The next bundle cannot be made, or does not verify against what was taken away; the service stops, or both."""
    disarm(published.store)
    execute(published.store, *(filled(published, edit) for edit in edits))
    published.post("/v1/records", record("r3"))
    key = str(published.context.keeper.keys()[0].verifier)
    made = published.post("/v1/reports", ASKED)
    if made.status_code != 201:
        return
    bundle = published.get(f"/v1/reports/{json.loads(made.text)['id']}.bundle")
    if bundle.status_code != 200:
        assert bundle.headers["content-type"] == "application/problem+json"
        return
    path = tmp_path / "after.zip"
    path.write_bytes(bundle.content)
    assert not verify(path, Given(key, previous=tmp_path / "taken.zip", anchor=tmp_path / "anchor")).good


def filled(service: Service, edit: str) -> str:
    """A statement with values in the words of its database."""

    def blob(byte: str, count: int) -> str:
        return f"X'{byte * count}'" if service.store._database.is_sqlite else f"'\\x{byte * count}'::bytea"

    peaks = service.store.log.head().size.bit_count()
    return edit.format(forged=blob("7b", 2), hash=blob("11", 32), peaks=blob("22", 32 * peaks))
