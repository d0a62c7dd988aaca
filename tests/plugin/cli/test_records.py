"""`joulegate records` imports once, lists and shows."""

import json
from pathlib import Path

import yaml

from joulegate.tokens import Role, format_row
from tests.api.running import Service, priced, principal, record
from tests.api.test_windows import NODE, batch, device, window
from tests.plugin.cli.conftest import Command


def test_records_are_imported_once_listed_and_shown(joulegate: Command, api: Service, tmp_path: Path) -> None:
    priced(api)
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(record(name)) + "\n" for name in ("r1", "r2")))
    assert [row["repeat"] for row in joulegate("records", "import", str(file), "--json").json] == [False, False]
    assert "2 were there already" in joulegate("records", "import", str(file)).err
    assert {row["record_id"] for row in joulegate("records", "list", "--json").json} == {"r1", "r2"}
    assert "16.7 Wh" in joulegate("records", "list").out
    assert joulegate("records", "list", "--kind", "inference", "--json").json == []
    assert yaml.safe_load(joulegate("records", "show", "r1").out)["record_id"] == "r1"
    assert yaml.safe_load(joulegate("records", "show", "run-r1").out)["uid"] == "run-r1"
    missing = joulegate("records", "show", "nobody")
    assert missing.code == 1
    assert missing.err.count("\n") == 1


def test_a_second_opinion_is_shown_beside_ours_with_its_difference(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    priced(api)
    opinion = {"tool": "codecarbon 3.3.0", "duration_ns": "301000000000", "host_mj": "5000000"}
    found = {**opinion, "accelerator_mj": "63000000", "reason": None}
    none = {**opinion, "accelerator_mj": None, "reason": "it found no GPU"}
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record("r1", opinions=[found, none])))
    joulegate("records", "import", str(file))
    shown = yaml.safe_load(joulegate("records", "show", "r1").out)
    assert [one["difference_percent"] for one in shown["opinions"]] == [5.0, None]
    assert [one["tool"] for one in shown["opinions"]] == ["codecarbon 3.3.0"] * 2
    assert shown["opinions"][1]["reason"] == "it found no GPU"
    assert shown["footprint"]["energy_mj"] == "60000000"
    (inside,) = joulegate("records", "show", "run-r1", "--json").json["records"]
    assert inside["opinions"] == shown["opinions"]


def test_what_the_node_meter_says_of_the_same_pod_is_shown_with_the_difference(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    tokens = api.settings.tokens_path
    tokens.write_text(tokens.read_text() + format_row(principal(NODE, Role.METER)) + "\n")
    assert api.post("/v1/devices", device(), by=NODE).status_code == 201
    windows = [window(seq, active_mj="9000000", energy_end_mj=str(6_000_000 * seq + 10_000_000)) for seq in range(5)]
    assert api.post("/v1/windows", batch(*windows), by=NODE).json() == {"accepted_seq": 4, "quarantined": []}
    file = tmp_path / "record.json"
    run = {"uid": "run-r1", "namespace": "vision", "pod_uid": "uid-a"}
    file.write_text(json.dumps(record("r1", run=run)))
    joulegate("records", "import", str(file))
    shown = yaml.safe_load(joulegate("records", "show", "r1").out)
    assert (shown["charged"], shown["self_reported"]) == (False, True)
    assert shown["node_meter"]["energy_mj"] == "50000000"
    assert (shown["node_meter"]["difference_mj"], shown["node_meter"]["difference_percent"]) == ("10000000", 20.0)


def test_a_record_that_is_refused_is_named_by_its_line(joulegate: Command, api: Service, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps(record("r1")) + "\n" + json.dumps(record("r2", kind="magic")) + "\n")
    done = joulegate("records", "import", str(file))
    assert done.code == 1
    assert f"{file}:2: kind: " in done.err
    assert "1 before it were taken" in done.err
    assert len(api.store.records.list().records) == 1
