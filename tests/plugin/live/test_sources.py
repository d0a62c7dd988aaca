"""Every source through one protocol, against answers in its documented form, over a real socket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.footprint import RateBook
from joulegate.core.periods import QUARTER, Period, format_instant
from joulegate.live import IntensitySource, What
from joulegate.live.electricity_maps import ElectricityMaps
from joulegate.live.great_britain import GreatBritain
from joulegate.live.prometheus import Prometheus
from joulegate.live.watttime import WattTime
from tests.plugin.live.conftest import Asked, Publisher

START = datetime(2026, 11, 20, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 4, tzinfo=UTC)
TWO_HOURS = Period(START, START + timedelta(hours=2))
OWN = What("lifecycle", "consumption", "average", "AR5")


def hour(at: datetime, value: object, **more: object) -> dict[str, Any]:
    """One hour as Electricity Maps documents it."""
    written = at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "zone": "DE",
        "carbonIntensity": value,
        "datetime": written,
        "updatedAt": "2026-11-21T03:00:00.000Z",
        "createdAt": "2026-11-18T00:00:00.000Z",
        "emissionFactorType": "direct",
        "isEstimated": False,
        "estimationMethod": None,
    } | more


def series(values: list[list[object]], count: int = 1) -> dict[str, Any]:
    """A matrix as Prometheus documents it."""
    result = [{"metric": {"__name__": "grid", "n": str(n)}, "values": values} for n in range(count)]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def watttime(rows: list[dict[str, Any]], **meta: object) -> Callable[[Asked], tuple[int, Any]]:
    """Login and history as WattTime documents them."""
    told = {
        "region": "CAISO_NORTH",
        "signal_type": "co2_moer",
        "model": {"date": "2026-03-01"},
        "units": "lbs_co2_per_mwh",
        "data_point_period_seconds": 300,
        "warnings": [],
    } | meta
    return lambda asked: (200, {"token": "t0ken"} if asked.path == "/login" else {"data": rows, "meta": told})


def test_electricity_maps_gives_hours_with_their_version_and_leaves_estimates_unknown(publisher: Publisher) -> None:
    hours = [hour(START, 322), hour(START + timedelta(hours=1), 301.5, isEstimated=True)]
    publisher.answer = lambda _: (200, {"zone": "DE", "temporalGranularity": "hourly", "data": hours})
    got = ElectricityMaps("secret", "direct", publisher.address).fetch("DE", TWO_HOURS, NOW)
    (row,) = got.rows
    assert (row.zone, row.ug_per_kwh, row.boundary, row.mix, row.signal) == (
        "DE",
        322_000_000,
        "direct",
        "consumption",
        "average",
    )
    assert (row.valid_from, row.valid_to) == (START, START + timedelta(hours=1))
    assert row.reference.version == "2026-11-21T03:00:00.000Z"
    assert row.reference.source.startswith(f"{publisher.address}/v3/carbon-intensity/past-range?zone=DE&")
    assert row.reference.sha256
    assert "secret" not in row.reference.source
    assert got.unknown == tuple(START + timedelta(hours=1) + n * QUARTER for n in range(4))
    (asked,) = publisher.seen
    assert asked.headers["auth-token"] == "secret"
    assert asked.query["disableEstimations"] == "true"


def test_electricity_maps_is_asked_for_ten_days_at_once(publisher: Publisher) -> None:
    publisher.answer = lambda _: (200, {"data": []})
    period = Period(START, START + timedelta(days=25))
    ElectricityMaps("secret", "direct", publisher.address).fetch("DE", period, NOW)
    spans = [(asked.query["start"], asked.query["end"]) for asked in publisher.seen]
    assert [begin for begin, _ in spans] == ["2026-11-20T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-10T00:00:00Z"]
    assert spans[-1][1] == "2026-12-15T00:00:00Z"


def test_an_answer_of_another_zone_is_refused(publisher: Publisher) -> None:
    publisher.answer = lambda _: (200, {"data": [hour(START, 5, zone="NO-NO1")]})
    with pytest.raises(InvalidInputError, match="asked for DE"):
        ElectricityMaps("secret", "direct", publisher.address).fetch("DE", TWO_HOURS, NOW)


def test_watttime_pounds_become_grams_in_quarter_hours_and_a_marginal_rate_prices_nothing(
    publisher: Publisher,
) -> None:
    rows: list[dict[str, Any]] = [
        {"point_time": (START + n * timedelta(minutes=5)).isoformat(), "value": value}
        for n, value in enumerate([900.0, 1000.0, 1100.0, 800.0, None, 800.0])
    ]
    publisher.answer = watttime(rows)
    period = Period(START, START + 2 * QUARTER)
    got = WattTime("me", "pass", address=publisher.address).fetch("CAISO_NORTH", period, NOW)
    (row,) = got.rows
    assert row.ug_per_kwh == 453_592_370, "1000 lb/MWh are 453.59237 g/kWh"
    assert (row.signal, row.gwp, row.reference.version) == ("srmer", "co2_only", "model 2026-03-01")
    assert got.unknown == (START + QUARTER,), "one of its three points is not known"
    assert RateBook(got.rows, (), ()).intensities[0].signal != "average"
    login, asked = publisher.seen
    assert login.headers["Authorization"] == "Basic bWU6cGFzcw=="
    assert asked.headers["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    "meta",
    [{"units": "kg_co2_per_mwh"}, {"region": "PJM"}, {"signal_type": "co2_aoer"}, {"data_point_period_seconds": None}],
)
def test_watttime_in_another_unit_or_of_another_region_is_refused(publisher: Publisher, meta: dict[str, Any]) -> None:
    publisher.answer = watttime([], **meta)
    with pytest.raises(InvalidInputError, match="meta"):
        WattTime("me", "pass", address=publisher.address).fetch("CAISO_NORTH", TWO_HOURS, NOW)


def test_great_britain_gives_what_was_and_no_forecast(publisher: Publisher) -> None:
    def half_hour(n: int, actual: int | None) -> dict[str, Any]:
        begin = START + n * timedelta(minutes=30)
        bounds = {"from": f"{begin:%Y-%m-%dT%H:%MZ}", "to": f"{begin + timedelta(minutes=30):%Y-%m-%dT%H:%MZ}"}
        return bounds | {"intensity": {"forecast": 266, "actual": actual, "index": "moderate"}}

    publisher.answer = lambda _: (200, {"data": [half_hour(-1, 9), half_hour(0, 263), half_hour(1, None)]})
    got = GreatBritain(publisher.address).fetch("GB", Period(START, START + timedelta(hours=1)), NOW)
    (row,) = got.rows
    assert (row.ug_per_kwh, row.valid_to - row.valid_from) == (263_000_000, timedelta(minutes=30))
    assert (row.reference.licence, row.reference.version) == ("CC-BY-4.0", format_instant(NOW))
    assert got.unknown == (START + 2 * QUARTER, START + 3 * QUARTER)
    assert publisher.seen[0].path == "/intensity/2026-11-20T00:00Z/2026-11-20T01:00Z"
    with pytest.raises(InvalidInputError, match="GB alone"):
        GreatBritain(publisher.address).fetch("DE", TWO_HOURS, NOW)


def test_a_series_of_prometheus_is_what_it_was_told_to_be(publisher: Publisher) -> None:
    at = int(START.timestamp())
    publisher.answer = lambda _: (200, series([[at, "275.5"], [at + 900, "NaN"]]))
    source = Prometheus(publisher.address, "grid_g", OWN, "the operator", "internal", "t")
    got = source.fetch("DE", Period(START, START + 2 * QUARTER), NOW)
    (row,) = got.rows
    assert (row.ug_per_kwh, row.boundary, row.reference.publisher) == (275_500_000, "lifecycle", "the operator")
    assert got.unknown == (START + QUARTER,)
    assert publisher.seen[0].query["step"] == "900"
    publisher.answer = lambda _: (200, series([], 2))
    with pytest.raises(InvalidInputError, match="has to select one"):
        source.fetch("DE", TWO_HOURS, NOW)


def every_source(address: str) -> list[tuple[IntensitySource, str]]:
    """The four, at one address."""
    return [
        (ElectricityMaps("secret", "direct", address), "DE"),
        (WattTime("me", "secret", address=address), "CAISO_NORTH"),
        (GreatBritain(address), "GB"),
        (Prometheus(address, "grid_g", OWN, "p", "l", "secret"), "DE"),
    ]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("status", [301, 401, 404, 429, 500])
def test_a_source_that_refuses_is_an_error_and_nothing_stands_in(publisher: Publisher, which: int, status: int) -> None:
    publisher.answer = lambda _: (status, b"no")
    source, zone = every_source(publisher.address)[which]
    with pytest.raises(UnavailableError, match=f"answered {status}") as told:
        source.fetch(zone, TWO_HOURS, NOW)
    assert "secret" not in str(told.value)
    assert len(publisher.seen) == 1, "no redirect is followed, nothing is tried again by itself"


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 5}', b'{"data": {"result": [7]}}', b"[" * 100_000])
def test_an_answer_of_another_form_is_refused(publisher: Publisher, which: int, body: bytes) -> None:
    publisher.answer = lambda _: (200, body)
    source, zone = every_source(publisher.address)[which]
    with pytest.raises(InvalidInputError):
        source.fetch(zone, TWO_HOURS, NOW)


@pytest.mark.parametrize("value", [-1, 10**9, "1e999999999", True, "many"])
def test_a_figure_that_no_grid_can_have_is_refused(publisher: Publisher, value: object) -> None:
    body = str({"data": [hour(START, "X")]}).replace("'X'", '"many"' if value == "many" else str(value).lower())
    body = body.replace("'", '"').replace("None", "null").replace("False", "false")
    publisher.answer = lambda _: (200, body.encode())
    with pytest.raises(InvalidInputError):
        ElectricityMaps("secret", "direct", publisher.address).fetch("DE", TWO_HOURS, NOW)


def test_a_secret_does_not_travel_in_the_clear_and_a_closed_port_is_told() -> None:
    with pytest.raises(UnavailableError, match="neither https nor on this machine"):
        ElectricityMaps("secret", "direct", "http://maps.example").fetch("DE", TWO_HOURS, NOW)
    with pytest.raises(UnavailableError, match="no answer from"):
        GreatBritain("http://127.0.0.1:9").fetch("GB", TWO_HOURS, NOW)
    with pytest.raises(UnavailableError, match="no header may hold"):
        ElectricityMaps("a\nb", "direct", "http://127.0.0.1:9").fetch("DE", TWO_HOURS, NOW)
