"""The dashboard shows what the API knows, to whoever may see it, without scripts and without trusting a name."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from joulegate.core.budgets import Balance
from joulegate.core.units import Unit
from joulegate_api.dashboard.view import gauge
from tests.api.running import Service, budget, job, priced, record, review

HTML = {"Accept": "text/html,application/xhtml+xml"}
HOSTILE = "<img src=x onerror=alert(1)>"


class _Page(HTMLParser):
    """Elements of a page by name, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def every(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(service: Service, path: str = "/", **more: Any) -> _Page:
    answer = service.get(path, headers=HTML, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    return _Page(answer.text)


def evaluated(name: str, variant: str, energy_mj: int, accuracy: float, **more: Any) -> dict[str, Any]:
    """A record with a measured window and a figure of merit."""
    work = {
        "name": "predict",
        "unit": "predictions",
        "amount": 1_000,
        "repeats": 1,
        "start": "2026-11-20T08:00:00Z",
        "end": "2026-11-20T08:00:10Z",
        "energy_mj": str(energy_mj),
    }
    quality = {"name": "accuracy", "value": accuracy, "n": 400}
    return record(name, variant=variant, kind="evaluation", work=[work], quality=[quality], **more)


def test_an_empty_service_says_how_to_begin(service: Service) -> None:
    text = page(service).text
    for words in ("No budget binds anything yet", "No run yet", "Fewer than two variants", "Nothing was decided yet"):
        assert words in text


def test_budgets_runs_comparison_and_decisions_are_on_the_page(service: Service) -> None:
    priced(service)
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "10", "carbonKg": "5"}))
    service.post("/v1/records", evaluated("r1", "original", 5_000, 0.99))
    service.post("/v1/records", evaluated("r2", "quantised", 50_000, 0.98, started_at="2026-11-20T08:00:01Z"))
    service.post("/v1/admission/validate", review(job(64, "100h", uid="large", name="too-large")))
    shown = page(service)
    for words in (
        "vision",
        "10 kWh",
        "5 kg CO2e",
        "original",
        "quantised",
        "dearer on this hardware",
        "too-large",
        "deny",
    ):
        assert words in shown.text
    assert "the request asks for more than is available" in shown.text
    gauges = [attributes["aria-label"] for attributes in shown.every("svg") if "aria-label" in attributes]
    assert any(label.startswith("Energy: ") and "available of 10 kWh" in label for label in gauges)
    pictures = [attributes for attributes in shown.every("svg") if attributes.get("role") == "img"]
    assert len(pictures) == len(gauges) + 1


def test_replayed_and_not_measured_are_said_and_explained(service: Service) -> None:
    body = record("r1", source="replayed")
    body["devices"][0]["intervals"][0]["method"] = "replayed"
    unmeasured = record("r2")
    unmeasured["devices"][0]["intervals"][0] |= {"energy_mj": None, "method": "not_measured", "coverage": 0.0}
    for sent in (body, unmeasured):
        assert service.post("/v1/records", sent).status_code == 201
    text = page(service).text
    assert "Replayed means that no GPU was read" in text
    assert "not measured" in text
    assert "not priced" in text
    assert not re.search(r"\b0 (mJ|J|Wh|kWh)\b", text)


def test_a_name_is_text_and_nothing_is_run_or_styled_in_place(service: Service) -> None:
    run = {"uid": "u", "namespace": "vision", "pipeline": HOSTILE, "step": HOSTILE}
    service.post("/v1/records", evaluated("r1", HOSTILE, 5, 0.9, run=run, model=HOSTILE))
    service.post("/v1/records", evaluated("r2", "'\"><script>", 6, 0.8, run=run, model=HOSTILE))
    shown = page(service)
    assert shown.every("img") == []
    assert shown.every("script") == []
    for _, attributes in shown.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]


def test_the_policy_of_the_page_allows_nothing_in_line(sqlite_service: Service) -> None:
    policy = sqlite_service.get("/", headers=HTML).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_every_link_and_asset_is_there_and_relative(sqlite_service: Service) -> None:
    shown = page(sqlite_service)
    for attributes in [*shown.every("link"), *shown.every("a")]:
        target = attributes["href"]
        assert not target.startswith(("http:", "https:", "//", "/"))
        if not target.startswith(("#", ".")):
            answer = sqlite_service.get(f"/{target}", follow_redirects=True)
            assert answer.status_code == 200, target


def test_the_page_can_be_read_by_its_structure(sqlite_service: Service) -> None:
    sqlite_service.post("/v1/records", record("r1"))
    shown = page(sqlite_service)
    assert shown.every("html") == [{"lang": "en"}]
    assert len(shown.every("h1")) == 1
    assert len(shown.every("main")) == 1
    assert all("scope" in attributes for attributes in shown.every("th"))
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes["aria-labelledby"] for _, attributes in shown.elements if "aria-labelledby" in attributes]
    assert set(named) <= set(ids)


def test_runs_are_paged_by_a_link(service: Service) -> None:
    for number in range(27):
        started = f"2026-11-20T08:00:{number:02}Z"
        sent = record(
            f"r{number}", started_at=started, run={"uid": f"u{number}", "namespace": "vision", "step": f"s-{number}"}
        )
        assert service.post("/v1/records", sent).status_code == 201
    first = page(service)
    (older,) = [a["href"] for a in first.every("a") if a["href"].startswith("?cursor=")]
    second = page(service, "/" + older.partition("#")[0])
    for number in range(27):
        on_first, on_second = (re.search(rf"s-{number}(?!\d)", shown.text) is not None for shown in (first, second))
        assert on_first is (number >= 2)
        assert on_second is (number < 2)


def test_a_session_opens_the_page_and_nothing_that_changes_something(sqlite_service: Service) -> None:
    link = sqlite_service.post("/v1/sessions", {}).json()["path"]
    opened = sqlite_service.get(link, by=None, follow_redirects=False)
    assert opened.status_code == 303
    page(sqlite_service, by=None)
    assert sqlite_service.put("/v1/budgets/vision", budget(), by=None).status_code == 401
    assert sqlite_service.get(link, by=None, headers=HTML).status_code == 401


def test_without_a_session_a_browser_is_told_how_to_get_one(sqlite_service: Service) -> None:
    answer = sqlite_service.get("/", by=None, headers=HTML)
    assert answer.status_code == 401
    assert "This page is locked" in answer.text
    assert "joulegate up" in answer.text
    program = sqlite_service.get("/", by=None)
    assert program.status_code == 401
    assert program.json()["code"] == "unauthenticated"


def test_a_reader_of_one_namespace_sees_that_one(service: Service) -> None:
    service.post("/v1/records", record("r1", run={"uid": "a", "namespace": "vision", "step": "seen"}))
    service.post("/v1/records", record("r2", run={"uid": "b", "namespace": "speech", "step": "hidden"}))
    text = page(service, by="vision-reader").text
    assert "seen" in text
    assert "hidden" not in text
    assert service.get("/?namespace=speech", by="vision-reader").status_code == 403


def test_variants_can_be_chosen_and_a_choice_that_cannot_be_compared_is_explained(service: Service) -> None:
    service.post("/v1/records", evaluated("r1", "a", 5, 0.9))
    service.post("/v1/records", evaluated("r2", "b", 6, 0.8))
    assert "Baseline: b" in page(service, "/?variants=b,a").text
    assert "These variants cannot be compared" in page(service, "/?variants=a,nobody").text


def test_the_report_of_a_month_is_one_link_away(sqlite_service: Service) -> None:
    answer = sqlite_service.get("/reports/2026-11.html", follow_redirects=False)
    assert answer.status_code == 303
    assert sqlite_service.get(answer.headers["location"]).status_code == 200
    for path in ("2026-13.html", "2026-11.exe", "x.html"):
        assert sqlite_service.get(f"/reports/{path}").status_code == 404


@pytest.mark.parametrize(
    ("balance", "widths", "has_debt"),
    [
        (Balance(Unit.MJ, 1_000, posted=250, pending=500), (250.0, 500.0), False),
        (Balance(Unit.MJ, 1_000, posted=0, pending=0), (0.0, 0.0), False),
        (Balance(Unit.MJ, 10**18, posted=1, pending=0), (4.0, 0.0), False),
        (Balance(Unit.MJ, 500, posted=1_000, pending=0), (1_000.0, 0.0), True),
        (Balance(Unit.MJ, 0, posted=0, pending=0), (0.0, 0.0), False),
    ],
)
def test_a_gauge_is_as_long_as_the_limit_or_as_what_was_drawn(
    balance: Balance, widths: tuple[float, float], *, has_debt: bool
) -> None:
    shown = gauge(balance)
    found = [float(width) for width in re.findall(r'class="(?:posted|pending)"[^>]*? width="([\d.]+)"', shown.bar)]
    assert tuple(found) == widths
    assert ('class="debt"' in shown.bar) is has_debt
    assert (shown.debt is not None) is has_debt
