"""``joulegate report``: what a period cost, as files that recompute."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, show_rows
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import format_instant, parse_instant

CHECK_FAILED = 3
_UNNAMEABLE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST: Final = 100
_COLUMNS: Final = (
    field("format", "format"),
    Column("records", lambda row: str(row["records"]), is_number=True),
    Column("totals recompute", lambda row: "yes, to the last unit" if row["recomputed"] else "NO"),
    field("file", "file"),
)


ScopeOption = Annotated[
    str | None,
    typer.Option(help="organisation, or team:, namespace:, pipeline:, model: or run: and a name; NAME: a namespace."),
]
FormatsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="html, json, csv, xlsx, pdf, sci, huggingface, ai-act, cyclonedx, spdx, focus, bundle; "
        "may be given several times. Default: all.",
    ),
]
CompareOption = Annotated[
    list[str] | None, typer.Option("--compare", metavar="VARIANT", help="A variant; the first is the baseline.")
]
MarginOption = Annotated[
    str | None, typer.Option(help="By how much a variant may be worse than the baseline, such as 0.01.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What a period cost, as files that recompute.", no_args_is_help=True)
    group.command("create")(create)
    app.add_typer(group, name="report")


def create(  # noqa: PLR0913 -- options of a command
    *,
    since: Annotated[str, typer.Option("--from", metavar="D", help="First day (2026-11-01) or instant.")],
    until: Annotated[str, typer.Option("--to", metavar="D", help="The day or instant before which it ends.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made where it is missing.")],
    scope: ScopeOption = None,
    formats: FormatsOption = None,
    compare: CompareOption = None,
    margin: MarginOption = None,
    against: Annotated[
        str | None, typer.Option(metavar="PACK", help="The same energy by this factor pack beside; posts nothing.")
    ] = None,
    life_years: Annotated[
        int | None, typer.Option(min=1, max=999, help="Expected life of a board: adds the range of embodied carbon.")
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Make a report of the records that began in [from, to), and write it in each format.

    Every total is recomputed from the records; exit code 3 says that one does not come out.
    """
    from joulegate.client import Client

    form = chosen(output, as_json)
    body: dict[str, Any] = {"since": _instant(since, "--from"), "until": _instant(until, "--to")}
    whole = scope == "organisation" or (scope is not None and ":" in scope)
    asked: dict[str, Any] = {"scope" if whole else "namespace": scope, "against": against, "life_years": life_years}
    asked |= {"compare": compare, "margin": margin}
    body |= {name: value for name, value in asked.items() if value}
    client = Client.from_home()
    made = client.post("/v1/reports", body, repeatable=True)
    wanted = list(dict.fromkeys(formats or made["formats"]))
    unknown = [name for name in wanted if name not in made["formats"]]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(made['formats'])}", param_hint="--format")
    out.mkdir(parents=True, exist_ok=True)
    stem = _stem(body)
    files = []
    for name in wanted:
        path = out / f"{stem}.{made['suffixes'].get(name, 'bundle.zip')}"
        path.write_bytes(client.read(f"/v1/reports/{made['id']}.{name}"))
        files.append({"format": name, "file": str(path), "recomputed": made["recomputed"], "records": made["records"]})
    show_rows(files, _COLUMNS, form, empty="")
    if not made["recomputed"]:
        raise typer.Exit(CHECK_FAILED)


def _stem(body: dict[str, Any]) -> str:
    """A name for people: the days, and the scope in letters that a file name may hold."""
    days = (body[end].removesuffix("T00:00:00Z").replace(":", "") for end in ("since", "until"))
    scope = _UNNAMEABLE.sub("-", body.get("namespace") or body.get("scope", ""))[:_LONGEST]
    return "-".join(("report", "-to-".join(days), *([scope] if scope else [])))


def _instant(text: str, option: str) -> str:
    """A day is the instant at which it begins in UTC."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        try:
            return format_instant(parse_instant(text, option))
        except InvalidInputError:
            raise typer.BadParameter(
                f"{text[:60]!r} is neither a day such as 2026-11-01 nor an instant", param_hint=option
            ) from None
    return format_instant(datetime(day.year, day.month, day.day, tzinfo=UTC))
