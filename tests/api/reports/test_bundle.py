"""A bundle holds the log as it was signed, and its report recomputes from nothing else."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from joulegate import bundles
from joulegate.tokens import Role, format_row
from joulegate.verification import Given, verify
from tests.api.running import FACTORS, Service, budget, job, priced, principal, record, review
from tests.api.test_windows import NODE, device, sent, window

SINCE, UNTIL = "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"


def reported(service: Service, **asked: Any) -> dict[str, Any]:
    answer = service.post("/v1/reports", {"since": SINCE, "until": UNTIL} | asked)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def bundle_of(service: Service, report_id: str, path: Path) -> Path:
    answer = service.get(f"/v1/reports/{report_id}.bundle", by="auditor")
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


@pytest.fixture
def audited(service: Service) -> Service:
    """A service with priced and unpriced records, decisions, and a key."""
    service.context.keeper.make_key("test")
    service.post("/v1/records", record("r0"))  # priced later, by an entry of its own
    priced(service)
    service.put("/v1/budgets/vision", budget())
    for name in ("r1", "r2", "r3"):
        service.post("/v1/records", record(name))
    service.store.pricing.price_unpriced()
    service.post("/v1/admission/validate", review(job()))
    return service


def key_of(service: Service) -> str:
    return str(service.context.keeper.keys()[0].verifier)


def test_a_bundle_is_good_under_the_key_of_the_log(audited: Service, tmp_path: Path) -> None:
    made = reported(audited)
    assert made["formats"][-1] == "bundle"
    path = bundle_of(audited, made["id"], tmp_path / "bundle.zip")
    verdict = verify(path, Given(key_of(audited)))
    assert [(check.name, check.faults) for check in verdict.checks if not check.passed] == []
    assert verdict.good
    assert (verdict.authenticity, verdict.report_digest) == ("pinned key", made["digest"])
    assert verdict.told["record"] == 4
    assert verdict.told["pricing"] == 1


def test_without_a_key_the_origin_is_unproven(audited: Service, tmp_path: Path) -> None:
    path = bundle_of(audited, reported(audited)["id"], tmp_path / "bundle.zip")
    assert (verify(path, Given()).intact, verify(path, Given()).good) == (True, False)
    assert verify(path, Given(allow_bundled_key=True)).good


def test_a_bundle_is_the_same_each_time_and_any_zip_tool_unpacks_it(audited: Service, tmp_path: Path) -> None:
    report_id = reported(audited)["id"]
    first = bundle_of(audited, report_id, tmp_path / "first.zip")
    audited.put("/v1/budgets/other", budget("other"))
    assert bundle_of(audited, report_id, tmp_path / "second.zip").read_bytes() == first.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "folder")
    assert tuple(sorted(path.name for path in (tmp_path / "folder").iterdir())) == bundles.MEMBERS
    assert verify(tmp_path / "folder", Given(key_of(audited))).good


def test_a_later_bundle_goes_on_from_an_earlier_and_from_the_anchor(audited: Service, tmp_path: Path) -> None:
    before = bundle_of(audited, reported(audited)["id"], tmp_path / "before.zip")
    audited.post("/v1/records", record("r4"))
    after = bundle_of(audited, reported(audited)["id"], tmp_path / "after.zip")
    anchor = tmp_path / "log" / "anchor" / "checkpoint"
    verdict = verify(after, Given(key_of(audited), previous=before, anchor=anchor))
    assert (verdict.good, verdict.previous, verdict.anchor) == (True, "consistent", "consistent")
    verdict = verify(before, Given(key_of(audited), previous=after))
    assert (verdict.good, verdict.previous) == (False, "inconsistent")
    verdict = verify(before, Given(key_of(audited), anchor=anchor))
    assert (verdict.good, verdict.anchor) == (False, "inconsistent")


def test_a_bundle_is_for_auditors_of_everything(audited: Service) -> None:
    made = audited.post("/v1/reports", {"since": SINCE, "until": UNTIL}, by="reader").json()
    assert "bundle" not in made["formats"]
    assert audited.get(f"/v1/reports/{made['id']}.bundle", by="reader").status_code == 403


def test_without_a_key_there_is_no_bundle(sqlite_service: Service) -> None:
    made = reported(sqlite_service)
    assert "bundle" not in made["formats"]
    assert sqlite_service.get(f"/v1/reports/{made['id']}.bundle").status_code == 503


def test_figures_edited_in_the_tables_are_not_what_the_log_says(audited: Service) -> None:
    with audited.store._database.write() as connection:
        connection.execute(text("UPDATE record_slices SET energy_mj = energy_mj / 2 WHERE record_id = 'r1'"))
    answer = audited.get(f"/v1/reports/{reported(audited)['id']}.bundle")
    assert answer.status_code == 409
    assert "log" in answer.json()["detail"]


def test_a_factor_changed_later_makes_new_entries_only(audited: Service, tmp_path: Path) -> None:
    """F14: an unknown factor leaves carbon unknown, a changed one prices again; what was written stays."""
    before = verify(bundle_of(audited, reported(audited)["id"], tmp_path / "before.zip"), Given(key_of(audited)))
    leaves = [leaf.data for leaf in audited.store.log.leaves(0, before.tree_size or 0)]
    unknown = next(json.loads(data)["body"]["slices"][0] for data in leaves if data and b'"id":"r0"' in data)
    assert unknown["footprint"]["carbon_location_ug"] is None
    changed = json.loads(json.dumps(FACTORS))
    changed["rows"][0] |= {"ug_per_kwh": "500000000", "valid_from": "2026-11-01T00:00:00Z"}
    changed["rows"][0]["reference"]["version"] = "2026-2"
    assert audited.put("/v1/factors", changed).status_code == 201
    since, until = (datetime.fromisoformat(each) for each in (SINCE, UNTIL))
    assert audited.store.pricing.reprice(since, until, "alice", "a better factor") == 4
    path = bundle_of(audited, reported(audited)["id"], tmp_path / "after.zip")
    verdict = verify(path, Given(key_of(audited), previous=tmp_path / "before.zip"))
    assert (verdict.good, verdict.previous, verdict.told["repricing"]) == (True, "consistent", 4)
    assert [leaf.data for leaf in audited.store.log.leaves(0, before.tree_size or 0)] == leaves


def test_windows_of_meters_come_along_and_are_those_of_their_entries(audited: Service, tmp_path: Path) -> None:
    path = audited.settings.tokens_path
    path.write_text(path.read_text() + format_row(principal(NODE, Role.METER)) + "\n")
    assert audited.post("/v1/devices", device(), by=NODE).status_code == 201
    sent(audited, window(0), window(1))
    sent(audited, window(1), window(2, energy_end_mj="99"), window(3))  # a repeat, an impossible one, a good one
    bundle = bundle_of(audited, reported(audited)["id"], tmp_path / "bundle.zip")
    verdict = verify(bundle, Given(key_of(audited)))
    assert [check.faults for check in verdict.checks if not check.passed] == []
    assert (verdict.good, verdict.told["windows"]) == (True, 2)
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "folder")
    changed = tmp_path / "folder" / bundles.WINDOWS
    changed.write_text(changed.read_text().replace('"active_mj":"5', '"active_mj":"4', 1))
    assert not verify(tmp_path / "folder", Given(key_of(audited))).good


def test_the_bundle_says_what_it_is_of(audited: Service, tmp_path: Path) -> None:
    made = reported(audited, namespace="vision")
    path = bundle_of(audited, made["id"], tmp_path / "bundle.zip")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        report = json.loads(archive.read("report.json"))
    assert manifest["report_id"] == made["id"]
    assert report["digest"] == made["digest"]
    assert report["query"]["namespace"] == "vision"
