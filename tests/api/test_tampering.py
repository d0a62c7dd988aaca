"""T3: who can change what is in the log. The service's own statements cannot; what a superuser did, verify finds.

What was published before the change is what proves it: an anchor, or an earlier bundle.
What a superuser changes between two anchors, with the signing key at hand, nobody can prove.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate.tokens import Role, format_row
from joulegate.verification import Given, verify
from joulegate_api.store import Store
from tests.api.running import Service, budget, priced, principal, record
from tests.api.store.superuser import disarm, execute
from tests.api.test_windows import NODE, batch, device, sent, window

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
TABLES = {
    "a window's energy": ['UPDATE windows SET body = replace(body, \'"active_mj":"5\', \'"active_mj":"4\')'],
    "a window's counter": ["UPDATE windows SET body = replace(body, '_start_mj\":\"6', '_start_mj\":\"5')"],
    "a window taken out": ["DELETE FROM windows WHERE window_seq = 1"],
    "a window of another pod": ["UPDATE windows SET body = replace(body, '\"uid-a\"', '\"uid-z\"'), pod_uid = 'uid-z'"],
    "what windows were charged": ["UPDATE charges SET energy_mj = energy_mj / 2"],
    "whose windows were charged": ["UPDATE charges SET subject = 'uid-z'"],
    "a charge taken out": ["DELETE FROM charges"],
    "the energy of a record": ["UPDATE record_slices SET energy_mj = energy_mj / 2 WHERE record_id = 'r1'"],
    "the carbon of a record": ["UPDATE record_slices SET carbon_location_ug = 1 WHERE record_id = 'r1'"],
    "the rate of a record": ["UPDATE record_slices SET location_rate = NULL WHERE record_id = 'r1'"],
    "a record taken out": [
        "DELETE FROM record_slices WHERE record_id = 'r1'",
        "DELETE FROM records WHERE record_id = 'r1'",
    ],
    "a factor": ["UPDATE rates SET body = replace(body, '400000000', '300000000') WHERE kind = 'intensity'"],
}
"""Tables that answer queries; the log does not believe them. What each row was is in an entry."""


@pytest.fixture
def published(service: Service, tmp_path: Path) -> Service:
    """A service with an anchored log and a bundle that an auditor took away."""
    service.context.keeper.make_key("test")
    service.put("/v1/budgets/vision", budget())
    for name in ("r1", "r2"):
        service.post("/v1/records", record(name))
    service.settings.tokens_path.write_text(tokens(service))
    priced(service)
    service.post("/v1/devices", device(), by=NODE)
    sent(service, window(0), window(1))
    service.store.pricing.price_unpriced()
    made = service.post("/v1/reports", ASKED).json()
    (tmp_path / "taken.zip").write_bytes(service.get(f"/v1/reports/{made['id']}.bundle").content)
    shutil.copyfile(tmp_path / "log" / "anchor" / "checkpoint", tmp_path / "anchor")
    return service


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
def test_the_service_itself_can_change_none_of_it(published: Service, edits: list[str]) -> None:
    for edit in [edit for edit in edits if "log_heads" not in edit][:1]:  # the head moves on with each entry
        with pytest.raises(UnavailableError, match="only ever added to"):
            execute(published.store, filled(published, edit))


@pytest.fixture
def another(published: Service, database_url: str, tmp_path: Path) -> Iterator[Service]:
    """The service started again on the same database, so that it has nothing in memory."""
    opened = Store.open(database_url)
    yield Service(opened, tmp_path)
    opened.close()


SLOWLY = [pytest.param(edits, id=name, marks=pytest.mark.slow) for name, edits in TABLES.items()]


@pytest.mark.parametrize("edits", [*(pytest.param(edits, id=name) for name, edits in EDITS.items()), *SLOWLY])
def test_what_a_superuser_changed_is_found(
    published: Service, another: Service, tmp_path: Path, edits: list[str]
) -> None:
    """The next bundle cannot be made, or does not verify against what was taken away; the service stops, or both."""
    disarm(published.store)
    execute(published.store, *(filled(published, edit) for edit in edits))
    another.settings.tokens_path.write_text(tokens(another))
    another.post("/v1/records", record("r3"))
    another.post("/v1/windows", batch(window(2)), by=NODE)
    key = str(another.context.keeper.keys()[0].verifier)
    made = another.post("/v1/reports", ASKED)
    if made.status_code != 201:
        assert made.status_code in (409, 503), made.text
        return
    bundle = another.get(f"/v1/reports/{json.loads(made.text)['id']}.bundle")
    if bundle.status_code != 200:
        assert bundle.headers["content-type"] == "application/problem+json"
        return
    path = tmp_path / "after.zip"
    path.write_bytes(bundle.content)
    assert not verify(path, Given(key, previous=tmp_path / "taken.zip", anchor=tmp_path / "anchor")).good


def test_what_nobody_changed_verifies(published: Service, another: Service, tmp_path: Path) -> None:
    """The same without an edit: so the edits are what is found."""
    another.settings.tokens_path.write_text(tokens(another))
    another.post("/v1/records", record("r3"))
    sent(another, window(2))
    bundle = another.get(f"/v1/reports/{another.post('/v1/reports', ASKED).json()['id']}.bundle")
    path = tmp_path / "after.zip"
    path.write_bytes(bundle.content)
    key = str(another.context.keeper.keys()[0].verifier)
    assert verify(path, Given(key, previous=tmp_path / "taken.zip", anchor=tmp_path / "anchor")).good


def tokens(service: Service) -> str:
    """The tokens of a service, and that of a node meter."""
    return service.settings.tokens_path.read_text() + format_row(principal(NODE, Role.METER)) + "\n"


def filled(service: Service, edit: str) -> str:
    """A statement with values in the words of its database."""

    def blob(byte: str, count: int) -> str:
        return f"X'{byte * count}'" if service.store._database.is_sqlite else f"'\\x{byte * count}'::bytea"

    peaks = service.store.log.head().size.bit_count()
    return edit.format(forged=blob("7b", 2), hash=blob("11", 32), peaks=blob("22", 32 * peaks))
