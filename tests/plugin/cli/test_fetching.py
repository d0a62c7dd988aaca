"""`joulegate factors fetch`: off until somebody asks, and what was fetched is dated and names its source."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.running import Service
from tests.plugin.cli.conftest import Command
from tests.plugin.live.conftest import Publisher, publisher

__all__ = ["publisher"]

PERIOD = ("--from", "2026-11-20T00:00:00Z", "--to", "2026-11-20T01:00:00Z")


def half_hours(*actual: int | None) -> dict[str, Any]:
    marks = ["2026-11-20T00:00Z", "2026-11-20T00:30Z", "2026-11-20T01:00Z"]
    return {
        "data": [
            {"from": begin, "to": end, "intensity": {"forecast": 1, "actual": value, "index": "low"}}
            for begin, end, value in zip(marks, marks[1:], actual, strict=False)
        ]
    }


def test_fetched_factors_are_kept_with_their_source_and_gaps_are_told(
    joulegate: Command, api: Service, publisher: Publisher
) -> None:
    publisher.answer = lambda _: (200, half_hours(141, None))
    where = ("--zone", "GB", "--address", publisher.address)
    done = joulegate("factors", "fetch", "great-britain", *where, *PERIOD, "--json")
    assert done.json == {"added": 1, "repeated": 0}
    assert "does not know 2 quarter-hours, the first at 2026-11-20T00:30:00Z" in done.err
    (row,) = api.store.rates.book().intensities
    assert (row.zone, row.ug_per_kwh, row.reference.licence) == ("GB", 141_000_000, "CC-BY-4.0")
    assert row.reference.source.startswith(publisher.address)


def test_a_source_that_fails_adds_nothing(joulegate: Command, api: Service, publisher: Publisher) -> None:
    publisher.answer = lambda _: (503, b"later")
    done = joulegate("factors", "fetch", "great-britain", "--zone", "GB", "--address", publisher.address, *PERIOD)
    assert (done.code, "answered 503" in done.err) == (1, True)
    publisher.answer = lambda _: (200, half_hours(None, None))
    done = joulegate("factors", "fetch", "great-britain", "--zone", "GB", "--address", publisher.address, *PERIOD)
    assert (done.code, "knows nothing of GB" in done.err) == (1, True)
    assert api.store.rates.book().intensities == ()


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("electricity-maps", 1, "JOULEGATE_ELECTRICITY_MAPS_TOKEN is not set"),
        ("watttime", 1, "JOULEGATE_WATTTIME_USER is not set"),
        ("prometheus", 2, "--address"),
        ("the-weather", 2, "is none of"),
    ],
)
def test_nobody_is_asked_without_what_it_needs(joulegate: Command, source: str, code: int, words: str) -> None:
    done = joulegate("factors", "fetch", source, "--zone", "DE", *PERIOD)
    assert (done.code, words in done.err) == (code, True)
