"""The log over HTTP: auditors get checkpoints, entries and proofs that hold."""

from __future__ import annotations

import pytest

from joulegate.core.checkpoints import read_checkpoint, read_note
from joulegate.core.merkle import begins, includes, leaf_hash
from tests.api.running import Service, budget, record
from tests.api.test_metrics import values_of


@pytest.fixture
def audited(service: Service) -> Service:
    """A service whose log has entries and one checkpoint."""
    keeper = service.context.keeper
    keeper.make_key("test")
    service.put("/v1/budgets/vision", budget())
    service.post("/v1/records", record("r1"))
    keeper.sign()
    service.post("/v1/records", record("r2"))
    keeper.sequence()
    return service


def test_the_checkpoint_is_a_signed_note(audited: Service) -> None:
    answer = audited.get("/v1/log/checkpoint", by="auditor")
    assert answer.headers["content-type"].startswith("text/plain")
    checkpoint = read_checkpoint(read_note(answer.text))
    assert checkpoint.size == 3  # a budget, a record, and the key


def test_there_is_no_checkpoint_before_one_was_signed(sqlite_service: Service) -> None:
    assert sqlite_service.get("/v1/log/checkpoint").status_code == 404


def test_every_entry_is_proved_to_be_in_the_tree(audited: Service) -> None:
    page = audited.get("/v1/log/entries?start=1&limit=2", by="auditor").json()
    assert page["tree_size"] == 4
    assert [entry["index"] for entry in page["entries"]] == [1, 2]
    for entry in page["entries"]:
        assert leaf_hash(entry["data"].encode()).hex() == entry["leaf_hash"]
        for query in (f"leaf_index={entry['index']}", f"leaf_hash={entry['leaf_hash']}"):
            proof = audited.get(f"/v1/log/proof?{query}&tree_size=3", by="auditor").json()
            path = [bytes.fromhex(each) for each in proof["hashes"]]
            root = read_checkpoint(read_note(audited.get("/v1/log/checkpoint").text)).root
            assert proof["root"] == root.hex()
            assert includes(bytes.fromhex(entry["leaf_hash"]), proof["leaf_index"], 3, path, root)


def test_a_larger_log_is_proved_to_begin_with_a_smaller(audited: Service) -> None:
    proof = audited.get("/v1/log/proof?first=3&second=4", by="auditor").json()
    roots = [bytes.fromhex(proof[name]) for name in ("first_root", "second_root")]
    assert begins(3, roots[0], 4, roots[1], [bytes.fromhex(each) for each in proof["hashes"]])


@pytest.mark.parametrize(
    "query",
    ["", "leaf_index=9", "leaf_index=x", "leaf_index=0&tree_size=99", "leaf_hash=00", "first=0&second=3", "other=1"],
)
def test_what_cannot_be_proved_is_refused_clearly(audited: Service, query: str) -> None:
    answer = audited.get(f"/v1/log/proof?{query}")
    assert answer.status_code in (400, 422)
    assert answer.json()["code"]


def test_an_unknown_leaf_is_not_found(audited: Service) -> None:
    assert audited.get(f"/v1/log/proof?leaf_hash={'00' * 32}").status_code == 404


def test_entries_are_for_auditors_of_everything(audited: Service) -> None:
    assert audited.get("/v1/log/entries", by="reader").status_code == 403
    assert audited.get("/v1/log/entries", by="vision-reader").status_code == 403


def test_metrics_tell_of_the_log(audited: Service) -> None:
    audited.post("/v1/records", record("r3"))
    values = values_of(audited.get("/metrics").text)
    assert 0 <= values["joulegate_log_sequencer_lag_seconds"] < 60
    assert 0 <= values["joulegate_log_checkpoint_age_seconds"] < 60
    assert values["joulegate_log_held_entries"] == values["joulegate_log_read_only"] == 0
