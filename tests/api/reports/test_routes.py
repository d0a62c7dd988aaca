"""A report is made from the store, is the same whenever it is asked for, and holds in every format."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from joulegate_api.reports import FORMATS
from joulegate_api.web import style_hash, stylesheet
from tests.api.running import Service, budget, job, priced, record, review

NOVEMBER = {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}
HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script>"


def made(service: Service, body: dict[str, Any] = NOVEMBER, **more: Any) -> dict[str, Any]:
    answer = service.post("/v1/reports", body, **more)
    assert answer.status_code == 201, answer.text
    report: dict[str, Any] = answer.json()
    return report


def read(service: Service, report: dict[str, Any], name: str, **more: Any) -> bytes:
    answer = service.get(f"/v1/reports/{report['id']}.{name}", **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == FORMATS[name].media_type.split(";")[0]
    return bytes(answer.content)


@pytest.fixture
def kept(service: Service) -> Service:
    """A service with a budget, two priced records, one allowed and one refused request."""
    priced(service)
    assert service.put("/v1/budgets/vision", budget()).status_code == 201
    for name in ("r1", "r2"):
        assert service.post("/v1/records", record(name, variant=HOSTILE)).status_code == 201
    for uid, gpus in (("small", 1), ("large", 64)):
        assert service.post("/v1/admission/validate", review(job(gpus, "10h", uid=uid))).status_code == 200
    return service


def test_totals_of_every_format_are_those_of_the_records(kept: Service) -> None:
    report = made(kept)
    assert report["recomputed"] is True
    records = kept.get("/v1/records").json()["records"]
    energy = sum(int(row["footprint"]["energy_mj"]) for row in records)
    carbon = sum(int(row["footprint"]["carbon_location_ug"]) for row in records)
    cost = sum(int(row["footprint"]["cost_micros"]) for row in records)
    (total,) = json.loads(read(kept, report, "json"))["totals"]
    assert (int(total["energy_mj"]), int(total["carbon_location_ug"]), int(total["cost_micros"])) == (
        energy,
        carbon,
        cost,
    )
    rows = list(csv.DictReader(io.StringIO(read(kept, report, "csv").decode())))
    assert sum(int(row["energy_mj"]) for row in rows) == energy
    assert sum(int(row["carbon_location_ug"]) for row in rows) == carbon
    assert sum(int(row["cost_micros"]) for row in rows) == cost
    page = read(kept, report, "html").decode()
    assert f"{energy:,} mJ" in page
    assert f"{carbon:,} ug" in page


def test_the_same_report_is_byte_for_byte_the_same_after_more_has_come(kept: Service) -> None:
    report = made(kept)
    before = {name: read(kept, report, name) for name in FORMATS}
    assert kept.post("/v1/records", record("later")).status_code == 201
    assert {name: read(kept, report, name) for name in FORMATS} == before
    assert made(kept)["digest"] != report["digest"]
    assert len(json.loads(read(kept, made(kept), "json"))["runs"]) == 3


def test_decisions_of_the_period_are_counted(service: Service) -> None:
    assert service.put("/v1/budgets/vision", budget()).status_code == 201
    for uid, gpus in (("small", 1), ("large", 64), ("larger", 128)):
        assert service.post("/v1/admission/validate", review(job(gpus, "10h", uid=uid))).status_code == 200
    year = {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    document = json.loads(read(service, made(service, year), "json"))
    assert {(row["outcome"], row["count"]) for row in document["decisions"]} == {("allow", 1), ("deny", 2)}
    assert document["refusals"] == 2


def test_what_somebody_else_named_is_text_in_every_format(kept: Service) -> None:
    report = made(kept)
    rows = list(csv.DictReader(io.StringIO(read(kept, report, "csv").decode())))
    assert {row["variant"] for row in rows} == {"'" + HOSTILE}
    page = read(kept, report, "html").decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


class _Page(HTMLParser):
    """What a page would load, run or obey, and the headings that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.policy = ""
        self.headings: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "link", "img", "iframe", "object", "form") or "style" in given:
            self.loads.append(tag)
        self.loads += [name for name in given if name.startswith("on")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in ("h1", "h2"):
            self.headings.append(tag)
        if "id" in given:
            self.ids.add(given["id"])
        if given.get("href", "").startswith("#"):
            self.targets.add(given["href"][1:])


def test_the_page_stands_alone_under_a_policy_that_allows_its_own_style_only(kept: Service) -> None:
    page = _Page()
    page.feed(read(kept, made(kept), "html").decode())
    assert page.loads == []
    assert page.policy.startswith("default-src 'none'; ")
    assert style_hash(stylesheet()) in page.policy
    assert "unsafe" not in page.policy
    assert page.headings[0] == "h1"
    assert page.targets <= page.ids


def test_every_figure_stands_beside_its_boundary_its_method_and_its_source(kept: Service) -> None:
    page = read(kept, made(kept), "html").decode()
    for words in ("accelerator", "nvml_counter", "coverage 100 %", "CC-BY-4.0", "An Office", "self-reported"):
        assert words in page


def test_a_report_of_nothing_says_so(service: Service) -> None:
    report = made(service)
    assert report["records"] == 0
    assert b"No run lies in this period" in read(service, report, "html")
    assert read(service, report, "csv").count(b"\n") == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"since": "2026-11-01T00:00:00Z"}, 422),
        ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, 422),
        ({"since": "2026-11-01T00:07:00Z", "until": "2026-11-02T00:00:00Z"}, 422),
        ({**NOVEMBER, "scope": "x"}, 422),
        ({**NOVEMBER, "since": "yesterday"}, 422),
    ],
)
def test_a_query_that_is_none_is_refused(sqlite_service: Service, body: dict[str, Any], code: int) -> None:
    answer = sqlite_service.post("/v1/reports", body)
    assert answer.status_code == code
    assert answer.json()["code"] == "invalid_input"


@pytest.mark.parametrize(
    "path",
    [
        "nothing.json",
        "report~20261101T000000Z~20261201T000000Z~~20261123T000000000000Z~000000000000.exe",
        "report~20269901T000000Z~20261201T000000Z~~20261123T000000000000Z~000000000000.json",
        "..%2f..%2fetc%2fpasswd.json",
    ],
)
def test_an_id_that_no_report_had_is_not_found(sqlite_service: Service, path: str) -> None:
    assert sqlite_service.get(f"/v1/reports/{path}").status_code == 404


def test_an_id_whose_digest_does_not_fit_is_a_conflict(sqlite_service: Service) -> None:
    report = made(sqlite_service)
    forged = re.sub(r"[0-9a-f]{12}$", "0" * 12, report["id"])
    assert sqlite_service.get(f"/v1/reports/{forged}.json").status_code == 409


def test_a_reader_of_one_namespace_gets_a_report_of_that_one_only(kept: Service) -> None:
    assert kept.post("/v1/records", record("other", run={"uid": "x", "namespace": "speech"})).status_code == 201
    report = made(kept, by="vision-reader")
    assert report["records"] == 2
    whole = made(kept)
    assert whole["records"] == 3
    assert kept.get(f"/v1/reports/{whole['id']}.json", by="vision-reader").status_code == 403
    assert kept.post("/v1/reports", {**NOVEMBER, "namespace": "speech"}, by="vision-reader").status_code == 403
