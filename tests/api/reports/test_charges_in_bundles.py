"""What node meters' windows were charged follows from the bundle: from its windows, its entries and their rates."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from joulegate import bundles
from joulegate.core import display
from joulegate.core.audit import Query
from joulegate.core.charged import Charged
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import Period, format_instant
from joulegate.core.recount import Recount, Reported
from joulegate.tokens import Role, format_row
from joulegate.verification import Given, verify
from tests.api.reports.test_bundle import SINCE, UNTIL, bundle_of, key_of, reported
from tests.api.running import FACTORS, Service, budget, priced, principal, record
from tests.api.test_windows import NODE, device, sent, window
from tests.plugin.bundled import QUERY

CHARGES = "each charge of windows added up and priced again from the windows themselves"


@pytest.fixture
def metered(service: Service) -> Service:
    """Windows of two quarter-hours and three pods: some before any rate was known, some after, some priced anew."""
    service.context.keeper.make_key("test")
    path = service.settings.tokens_path
    path.write_text(path.read_text() + format_row(principal(NODE, Role.METER)) + "\n")
    assert service.post("/v1/devices", device(), by=NODE).status_code == 201
    service.put("/v1/budgets/vision", budget())
    sent(service, window(0), window(1, pod_uid="uid-b"), window(2, pod_uid=None, namespace=None, pod=None))
    priced(service)
    sent(service, window(3), window(4, pod_uid="uid-b"))
    service.store.pricing.price_unpriced()
    sent(service, window(5), window(16, window_seq=6), window(17, window_seq=7, pod_uid="uid-c"))
    changed: dict[str, Any] = copy.deepcopy(dict(FACTORS))
    changed["rows"][0] |= {"ug_per_kwh": "500000000", "valid_from": "2026-11-01T00:00:00Z"}
    changed["rows"][0]["reference"]["version"] = "2026-2"
    assert service.put("/v1/factors", changed).status_code == 201
    since, until = (datetime.fromisoformat(each) for each in (SINCE, UNTIL))
    service.store.pricing.reprice(since, until, "alice", "a better factor")
    sent(service, window(8), window(9, pod_uid="uid-b"))
    return service


def test_charges_of_windows_are_computed_again_from_the_bundle_alone(metered: Service, tmp_path: Path) -> None:
    verdict = verify(bundle_of(metered, reported(metered)["id"], tmp_path / "bundle.zip"), Given(key_of(metered)))
    assert [(check.name, check.faults) for check in verdict.checks if not check.passed] == []
    assert verdict.told["windows"] == 4
    assert verdict.told["windows_priced"] >= 1
    assert verdict.told["windows_repriced"] >= 1
    (check,) = [check for check in verdict.checks if check.name == CHARGES]
    assert check.items >= 10


def test_what_a_run_says_stands_beside_what_the_meter_of_its_node_says(metered: Service, tmp_path: Path) -> None:
    """60 kJ by the run in five minutes; two whole windows of its pod of a minute and 6 kJ touch them."""
    body = record("own", run={"uid": "run-own", "namespace": "vision", "pod_uid": "uid-a"})
    assert metered.post("/v1/records", body).status_code == 201
    made = reported(metered)
    document = json.loads(metered.get(f"/v1/reports/{made['id']}.json").content)
    (row,) = document["opinions"]
    assert {name: row[name] for name in ("record_id", "charged", "windows", "reported_mj", "metered_mj")} == {
        "record_id": "own",
        "charged": False,
        "windows": 2,
        "reported_mj": "60000000",
        "metered_mj": "12000000",
    }
    assert row["difference_mj"] == "48000000"
    assert b"Runs beside node meters" in metered.get(f"/v1/reports/{made['id']}.html").content
    assert verify(bundle_of(metered, made["id"], tmp_path / "bundle.zip"), Given(key_of(metered))).good
    part = json.loads(metered.get(f"/v1/reports/{reported(metered, namespace='vision')['id']}.json").content)
    assert "opinions" not in part


Body = dict[str, Any]


@pytest.mark.parametrize("name", ["active_mj", "allocated_gpu_ns", "energy_end_mj"])
def test_a_number_that_no_database_can_hold_is_named_and_ends_nothing(
    metered: Service, tmp_path: Path, name: str
) -> None:
    _, [(batch, rows), *_], _ = told(metered, tmp_path)
    since, until = (datetime.fromisoformat(each) for each in (SINCE, UNTIL))
    recount = Recount(Reported(Query(Period(since, until), None), until, until, "test"))
    recount.add_windows(format_instant(until), batch, rows)
    rows[0][name] = str(2**64)
    with pytest.raises(InvalidInputError, match=r"is not what an? (entry of windows|window) holds"):
        recount.add_windows(format_instant(until), batch, rows)


def told(service: Service, folder: Path) -> tuple[Recount, list[tuple[Body, list[Body]]], list[Body]]:
    """Rates, batches with their windows, and windows priced later, as a bundle tells them."""
    path = bundle_of(service, reported(service)["id"], folder / "bundle.zip")
    with zipfile.ZipFile(path) as archive:
        entries = [json.loads(line) for line in archive.read(bundles.ENTRIES).splitlines()]
        rows = [json.loads(line) for line in archive.read(bundles.WINDOWS).splitlines()]
    end = QUERY.period.end
    recount = Recount(Reported(QUERY, end, end, "test"))
    for entry in entries:
        recount.add(entry["type"], entry["at"], entry["body"])
    batches = [entry["body"] for entry in entries if entry["type"] == "windows"]
    repriced = [entry["body"] for entry in entries if entry["type"] in ("windows_priced", "windows_repriced")]
    return recount, list(zip(batches, rows, strict=True)), repriced


def faults(recount: Recount, batches: list[tuple[Body, list[Body]]], repriced: list[Body]) -> list[str]:
    charged = Charged(recount.rates)
    for body, rows in batches:
        charged.windows(body, rows)
    for body in repriced:
        charged.repriced(body)
    return [*charged.faults, *charged.closing_faults()]


def numbers(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where whole numbers that say how much stand."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in numbers(each, (*path, key))]
    if isinstance(value, list):
        return [found for index, each in enumerate(value) for found in numbers(each, (*path, index))]
    return [path] if isinstance(value, str) and value.isdigit() and len(value) < 20 else []


def changed_at(body: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(body)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = str(int(place[path[-1]]) + 3_600_000_007)  # more than rounding to a microgram hides
    return changed


NOT_CHARGED = {"pending", "energy_start_mj", "energy_end_mj", "window_seq", "replaces", "uncertainty", "footprint"}
"""Balances of holds are the trial balance's; counters are the energy balance's; the rest follows or says nothing."""
PRICED_BEFORE = {"carbon_location_ug", "cost_micros"}  # follow from energy and rates, which are recomputed


@pytest.mark.slow
def test_a_log_that_lies_about_a_charge_is_inconsistent_though_it_is_signed(metered: Service, tmp_path: Path) -> None:
    """Every amount of a window, of a batch's entry and of a later pricing, changed one at a time."""
    recount, batches, repriced = told(metered, tmp_path)
    assert faults(recount, batches, repriced) == []
    missed, made = [], 0
    for index, (body, rows) in enumerate(batches):
        for whole in (body, rows):
            for path in numbers(whole):
                unheld = whole is rows and rows[path[0]]["pod_uid"] is None
                # Time is in the charge where hours are what is paid for; the chain holds it where more came later.
                if {*path} & NOT_CHARGED or unheld or "gpu_ns" in path or "allocated_gpu_ns" in path:
                    continue
                made += 1
                changed = changed_at(whole, path)
                pair = (changed, rows) if whole is body else (body, changed)
                other = [*batches[:index], pair, *batches[index + 1 :]]
                if not faults(recount, other, repriced):
                    missed.append((index, path))
    for index, body in enumerate(repriced):
        for path in numbers(body):
            if not {*path} & (NOT_CHARGED | PRICED_BEFORE) and "gpu_ns" not in path:
                made += 1
                other_repriced = [*repriced[:index], changed_at(body, path), *repriced[index + 1 :]]
                if not faults(recount, batches, other_repriced):
                    missed.append((index, path))
    assert missed == []
    assert made > 30


LIES: dict[str, Callable[[list[tuple[Body, list[Body]]]], object]] = {
    "a window left out": lambda batches: batches[0][1].pop(0),
    "a window twice": lambda batches: batches[0][1].append(batches[0][1][0]),
    "another factor": lambda batches: batches[2][0]["priced"]["rates"][0].update(rates=[None] * 4),
    "another budget": lambda batches: batches[1][0]["priced"]["budgets"].update({"uid-a": []}),
    "what stood before forgotten": lambda batches: batches[2][0]["priced"]["before"].clear(),
    "a whole batch forgotten": lambda batches: batches.pop(0),
    "no word of prices": lambda batches: batches[0][0].pop("priced"),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_charges_that_do_not_follow_from_windows_and_rates_are_told(
    metered: Service, tmp_path: Path, lie: Callable[[list[tuple[Body, list[Body]]]], object]
) -> None:
    recount, batches, repriced = told(metered, tmp_path)
    lie(batches)
    assert faults(recount, batches, repriced)


def whole(document: Body, source: str) -> Body:
    (row,) = [row for row in document["settled"] if (row["group"], row["source"]) == ("whole", source)]
    return dict(row)


def test_the_report_says_what_the_ledger_posted_by_windows(metered: Service, tmp_path: Path) -> None:
    """Pod uid-c and a run's own record of 60 kJ: the record is beside the meter, and in no sum."""
    body = record("own", run={"uid": "run-own", "namespace": "vision", "pod_uid": "uid-a"}, model="digits")
    assert metered.post("/v1/records", body).status_code == 201
    made = reported(metered)
    document = json.loads(metered.get(f"/v1/reports/{made['id']}.json").content)
    found = whole(document, "all that was charged")
    at = "2026-11-20T08:00:00Z"
    balance = metered.get(f"/v1/budgets/vision/balance?at={at}").json()
    assert int(found["energy_mj"]) > 0
    assert found["energy_mj"] == balance["energy"]["posted"]
    assert found["carbon_location_ug"] == balance["carbon"]["posted"]
    assert [cost["micros"] for cost in found["costs"]] == [balance["cost"]["posted"]]
    assert whole(document, "node meters")["energy_mj"] == found["energy_mj"]
    assert whole(document, "records beside node meters, not charged")["energy_mj"] == "60000000"
    for group in ("namespace", "pipeline", "model", "run"):
        parts = [row for row in document["settled"] if row["group"] == group]
        assert sum(int(row["energy_mj"]) for row in parts) == int(found["energy_mj"])
    assert {row["name"] for row in document["settled"] if row["group"] == "model"} == {"digits", None}
    assert all(not check["differences"] for check in document["checks"])
    page = metered.get(f"/v1/reports/{made['id']}.html").text
    assert f"<b>{display.energy(int(found['energy_mj']))}</b><span>energy, all that was charged</span>" in page
    pages = PdfReader(io.BytesIO(metered.get(f"/v1/reports/{made['id']}.pdf").content)).pages
    assert display.energy(int(found["energy_mj"])) in " ".join(pages[0].extract_text().split())
    again = metered.get(f"/v1/reports/{made['id']}.json").content
    sent(metered, window(10), window(11, pod_uid="uid-b"))
    assert metered.get(f"/v1/reports/{made['id']}.json").content == again
    assert verify(bundle_of(metered, made["id"], tmp_path / "bundle.zip"), Given(key_of(metered))).good


def test_the_report_of_a_namespace_says_what_its_pods_were_charged(metered: Service, tmp_path: Path) -> None:
    made = reported(metered, namespace="vision")
    part = json.loads(metered.get(f"/v1/reports/{made['id']}.json").content)
    all_of_it = json.loads(metered.get(f"/v1/reports/{reported(metered)['id']}.json").content)
    assert whole(part, "all that was charged") == whole(all_of_it, "all that was charged")
    assert verify(bundle_of(metered, made["id"], tmp_path / "bundle.zip"), Given(key_of(metered))).good
    other = json.loads(metered.get(f"/v1/reports/{reported(metered, namespace='speech')['id']}.json").content)
    assert "settled" not in other
