"""A balance in words: what stands behind each figure, and how long it lasts at today's rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from joulegate.core import display
from joulegate.core.exhaustion import Forecast
from joulegate.core.periods import parse_instant
from joulegate.core.units import Unit

UNITS: Final = {"energy": Unit.MJ, "carbon": Unit.UG, "cost": Unit.MICROS}
_WIDTH: Final = 12


def lines(statement: Mapping[str, Any]) -> Iterator[str]:
    """The lines that explain the answer of ``GET /v1/budgets/{name}/statement`` to a person."""
    yield from _head(statement)
    limited = [name for name in UNITS if statement[name]["limit"] is not None]
    for name in limited:
        yield ""
        yield from _unit(name, statement)
    for name in UNITS:
        if name not in limited:
            found = statement[name]
            unpriced = int(found["unpriced_mj"])
            more = f", {display.energy(unpriced)} not priced yet" if unpriced else ""
            yield ""
            posted, pending = _amount(found, name, "posted"), _amount(found, name, "pending")
            yield f"{name}: no limit; {posted} posted, {pending} pending{more}"
    yield from _runs(statement)
    yield from _exceptions(statement)


def _head(statement: Mapping[str, Any]) -> Iterator[str]:
    spec = statement["budget"]["spec"]
    rule = spec["period"]
    named = f"{rule['unit']}, {rule.get('timezone', 'UTC')}" if "unit" in rule else "one span"
    name, period = statement["budget"]["metadata"]["name"], statement["period"]
    yield f"budget {name}, {_day(period['start'])} to {_day(period['end'])} ({named})"
    parent = f"counts in {spec['parent']} too; " if spec.get("parent") else ""
    carry = "what is not used is carried on" if spec["carryOver"] == "Unused" else "nothing is carried on"
    yield f"{parent}enforcement {spec['enforcement']}; {carry} at period close"
    if statement["closed_at"] is not None:
        yield f"closed since {_day(statement['closed_at'])}: nothing more is posted here"


def _unit(name: str, statement: Mapping[str, Any]) -> Iterator[str]:
    found = statement[name]
    yield f"{name}: {_amount(found, name, 'available')} available"
    parts = [f"base {_amount(found, name, 'base')}"]
    parts += [f"{part} {_amount(found, name, part)}" for part in ("carried", "exceptions") if found[part] != "0"]
    yield _line("limit", f"{_amount(found, name, 'limit')} = {' + '.join(parts)}")
    limit, posted = int(found["limit"]), int(found["posted"])
    share = f" ({display.percent(Fraction(posted, limit))} of the limit)" if limit > 0 else ""
    yield _line("posted", _amount(found, name, "posted") + share)
    held = sum(int(run["pending"][UNITS[name].value] or 0) != 0 for run in statement["runs"])
    held += statement["other_runs"]["count"]
    by = f", held by {held} {'run' if held == 1 else 'runs'}" if found["pending"] != "0" else ""
    yield _line("pending", _amount(found, name, "pending") + by)
    if found["unpriced_mj"] != "0":
        yield _line("not priced", f"{display.energy(int(found['unpriced_mj']))} was drawn that no rate prices yet")
    yield _line("debt", "none" if found["debt"] == "0" else f"{_amount(found, name, 'debt')} beyond the limit")
    yield _line("forecast", _forecast(name, found, statement))


def _forecast(name: str, found: Mapping[str, Any], statement: Mapping[str, Any]) -> str:
    rate = found["rate"]
    kind = Forecast(rate["forecast"])
    currency = found.get("currency")
    drawn = display.amount(int(rate["drawn"]), UNITS[name], currency)
    if kind is Forecast.EXHAUSTED:
        return "exhausted: what was posted has reached the limit"
    if kind is Forecast.NOTHING_DRAWN and found["unpriced_mj"] != "0":
        return "none: what was drawn is not priced yet"
    if kind is Forecast.NOTHING_DRAWN:
        return "none: nothing was drawn in the last 24 hours, so there is no rate to go by"
    said = f"at today's rate ({drawn} in the last 24 hours)"
    if kind is Forecast.RUNS_OUT:
        return f"{said} the limit is reached at {_day(rate['exhausted_at'])}"
    return f"{said} it lasts until the period ends at {_day(statement['period']['end'])}"


def _runs(statement: Mapping[str, Any]) -> Iterator[str]:
    runs, others = statement["runs"], statement["other_runs"]
    if not runs and not others["count"]:
        return
    yield ""
    yield "pending by run:"
    for run in runs:
        yield f"  {run['resource']} {run['namespace']}/{run['name']}, {run['state']} since {_day(run['since'])}"
        yield f"    {_together(run['pending'], statement)} pending, {_together(run['drawn'], statement)} drawn"
    if others["count"]:
        yield f"  {others['count']} more: {_together(others['pending'], statement)} pending"


def _exceptions(statement: Mapping[str, Any]) -> Iterator[str]:
    if statement["exceptions"]:
        yield ""
        yield "exceptions:"
    for given in statement["exceptions"]:
        what = given["exception_id"] or "of another namespace"
        whom = f", for namespace {given['namespace']}" if given["namespace"] else ""
        over = given["expired_at"] is not None
        end = f"ran out at {_day(given['expires_at'])}" if over else f"until {_day(given['expires_at'])}"
        yield f"  {what}{whom}, {end}"
        used = _together(given["used"], statement)
        gives = (
            f"{used} was used and stays" if over else f"gives {_together(given['granted'], statement)}; used: {used}"
        )
        yield f"    {gives}"


def _together(amounts: Mapping[str, str | None], statement: Mapping[str, Any]) -> str:
    """The amounts of several units in one phrase; those that are nothing are left out."""
    told = []
    for name, unit in UNITS.items():
        value = amounts[unit.value]
        if value is not None and int(value):
            told.append(display.amount(int(value), unit, statement[name].get("currency")))
    return ", ".join(told) or "nothing"


def _amount(found: Mapping[str, Any], name: str, key: str) -> str:
    value = found[key]
    return display.amount(None if value is None else int(value), UNITS[name], found.get("currency"), missing="no limit")


def _line(name: str, text: str) -> str:
    return f"  {name:<{_WIDTH}}{text}"


def _day(instant: str) -> str:
    return display.moment(parse_instant(instant, "instant"))
