"""``joulegate factors fetch``: asks one source, on somebody's word, and keeps what it says as dated factors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from joulegate.cli.factors import Send
from joulegate.cli.output import Format, JsonOption, OutputOption, chosen, note
from joulegate.core.errors import UnavailableError
from joulegate.core.periods import Period, format_instant, parse_instant
from joulegate.wire import to_json

if TYPE_CHECKING:
    from joulegate.live import IntensitySource

TOKEN: Final = "JOULEGATE_ELECTRICITY_MAPS_TOKEN"  # noqa: S105 -- the name of a variable
USER: Final = "JOULEGATE_WATTTIME_USER"
PASSWORD: Final = "JOULEGATE_WATTTIME_PASSWORD"  # noqa: S105 -- the name of a variable
PROMETHEUS_TOKEN: Final = "JOULEGATE_PROMETHEUS_TOKEN"  # noqa: S105 -- the name of a variable
SOURCES: Final = ("electricity-maps", "watttime", "great-britain", "prometheus")
_ROWS_AT_ONCE: Final = 1_000

Meaning = Mapping[str, str | None]


def add(group: typer.Typer, send: Send) -> None:
    """Add the command to ``joulegate factors``."""
    group.command("fetch")(_fetcher(send))


def _fetcher(send: Send) -> Callable[..., None]:
    def fetch(  # noqa: PLR0913 -- options of a command
        *,
        source: Annotated[str, typer.Argument(metavar="SOURCE", help=", ".join(SOURCES))],
        zone: Annotated[str, typer.Option(help="The zone as the source calls it; the factors get this name.")],
        since: Annotated[str, typer.Option("--from", metavar="INSTANT", help="A quarter-hour in UTC.")],
        until: Annotated[str, typer.Option("--to", metavar="INSTANT", help="The quarter-hour before which it ends.")],
        boundary: Annotated[
            str | None, typer.Option(help="direct or lifecycle (electricity-maps, prometheus).")
        ] = None,
        signal: Annotated[
            str | None, typer.Option(help="co2_moer or co2_aoer (watttime); average (prometheus).")
        ] = None,
        mix: Annotated[str | None, typer.Option(help="What the series is of (prometheus).")] = None,
        gwp: Annotated[str | None, typer.Option(help="Its warming potentials, such as AR5 (prometheus).")] = None,
        publisher: Annotated[str | None, typer.Option(help="Whose figures they are (prometheus).")] = None,
        licence: Annotated[str | None, typer.Option(help="Under which licence (prometheus).")] = None,
        query: Annotated[str | None, typer.Option(help="A PromQL query of one series in g/kWh (prometheus).")] = None,
        address: Annotated[str | None, typer.Option(help="Another address than the source's own.")] = None,
        output: OutputOption = Format.TABLE,
        as_json: JsonOption = False,
    ) -> None:
        """Ask a source for a past period and add what it says; what it does not know stays unknown."""
        told = {"boundary": boundary, "signal": signal, "mix": mix, "gwp": gwp, "publisher": publisher}
        told |= {"licence": licence, "query": query, "address": address}
        asked = chosen_source(source, told, os.environ)
        period = Period(parse_instant(since, "--from"), parse_instant(until, "--to"))
        got = asked.fetch(zone, period, datetime.now(UTC))
        if got.unknown:
            first = format_instant(got.unknown[0])
            note(f"{source} does not know {len(got.unknown)} quarter-hours, the first at {first}; they stay unknown")
        if not got.rows:
            raise UnavailableError(f"{source} knows nothing of {zone} in this period; nothing was added")
        form = chosen(output, as_json)
        for begin in range(0, len(got.rows), _ROWS_AT_ONCE):
            part = got.rows[begin : begin + _ROWS_AT_ONCE]
            send([(f"{source}, {format_instant(row.valid_from)}", to_json(row)) for row in part], source, form)

    return fetch


def chosen_source(name: str, told: Meaning, environment: Mapping[str, str]) -> IntensitySource:
    """The source of a name with what it needs; nothing is assumed that it does not say by itself."""
    from joulegate.live import What
    from joulegate.live.electricity_maps import ADDRESS as MAPS
    from joulegate.live.electricity_maps import ElectricityMaps
    from joulegate.live.great_britain import ADDRESS as BRITAIN
    from joulegate.live.great_britain import GreatBritain
    from joulegate.live.prometheus import Prometheus
    from joulegate.live.watttime import ADDRESS as WATTTIME
    from joulegate.live.watttime import WattTime

    if name == "electricity-maps":
        return ElectricityMaps(_secret(environment, TOKEN), told["boundary"] or "lifecycle", told["address"] or MAPS)
    if name == "watttime":
        who, password = _secret(environment, USER), _secret(environment, PASSWORD)
        return WattTime(who, password, told["signal"] or "co2_moer", told["address"] or WATTTIME)
    if name == "great-britain":
        return GreatBritain(told["address"] or BRITAIN)
    if name != "prometheus":
        raise typer.BadParameter(f"{name!r} is none of {', '.join(SOURCES)}", param_hint="SOURCE")
    needed = {part: _needed(told, part) for part in ("address", "query", "boundary", "mix", "signal", "gwp")}
    what = What(needed["boundary"], needed["mix"], needed["signal"], needed["gwp"])
    by, licence = _needed(told, "publisher"), _needed(told, "licence")
    return Prometheus(needed["address"], needed["query"], what, by, licence, environment.get(PROMETHEUS_TOKEN))


def _needed(told: Meaning, part: str) -> str:
    value = told[part]
    if not value:
        raise typer.BadParameter("has to be told: a series does not say it", param_hint=f"--{part}")
    return value


def _secret(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise UnavailableError(f"{name} is not set, and nobody is asked without it")
    return value
