"""``joulegate ledger`` and ``joulegate change``: check, close and price again; what waits for a second person."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from joulegate.cli.output import (
    Column,
    Format,
    JsonOption,
    OutputOption,
    chosen,
    field,
    note,
    print_value,
    show_facts,
    show_rows,
)
from joulegate.core import display
from joulegate.core.units import Unit

REFUSED: Final = 3

ChangeArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id, as `joulegate change list` shows it.")]
NoteOption = Annotated[str | None, typer.Option("--note", help="What is noted with the decision.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    ledger = typer.Typer(help="Check the ledger, close its periods, price again.", no_args_is_help=True)
    ledger.command("check")(check)
    ledger.command("close")(close)
    ledger.command("reprice")(reprice)
    app.add_typer(ledger, name="ledger")
    change = typer.Typer(help="What waits for a second person: limits, rates, re-pricing.", no_args_is_help=True)
    change.command("list")(list_changes)
    change.command("show")(show_change)
    change.command("approve")(approve_change)
    change.command("reject")(reject_change)
    app.add_typer(change, name="change")


def check(*, output: OutputOption = Format.TABLE, as_json: JsonOption = False) -> int:
    """Count every balance again from the entries and name what differs, to the row; 3 where something does."""
    from joulegate.client import Client

    form = chosen(output, as_json)
    found = Client.from_home(timeout_s=600).get("/v1/ledger/check")
    differences = found["differences"]
    if form is Format.CSV:
        show_rows(differences, _DIFFERENCES, form, empty="")
    elif form is not Format.TABLE:
        print_value(found, form)
    elif differences:
        show_rows(differences, _DIFFERENCES, form, empty="")
    if form is Format.TABLE:
        told = f"{found['entries']} entries, {found['balances']} balances"
        typer.echo(f"{told}: {f'{len(differences)} figures differ' if differences else 'nothing differs'}")
    return REFUSED if differences else 0


def close(
    *,
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="2026, 2026-Q4, 2026-11, 2026-W47 or 2026-11-23.")],
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Only of this budget.")] = None,
    early: Annotated[bool, typer.Option("--early", help="Do not wait for late facts; the period is over.")] = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> int:
    """Close a period of every budget that has it; what was not used is carried on where the budget says so.

    A day closes the fixed span that it lies in. Again changes nothing. 3 where a budget's period was not closed.
    Example: joulegate ledger close 2026-10
    """
    from joulegate.client import Client

    form = chosen(output, as_json)
    body = {"period": period, "budget": budget, "early": early}
    found = Client.from_home().post("/v1/ledger/closes", body, repeatable=True)
    if form is Format.TABLE:
        show_rows(found["closed"], _CLOSED, form, empty="nothing was closed")
        for row in found["refused"]:
            note(row["reason"])
    else:
        print_value([*found["closed"], *found["refused"]] if form is Format.CSV else found, form)
    return REFUSED if found["refused"] else 0


def reprice(
    *,
    since: Annotated[str, typer.Option("--since", help="The first instant, such as 2026-11-01T00:00:00Z.")],
    until: Annotated[str, typer.Option("--until", help="The instant after the last.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; required unless it is a --dry-run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and ask for nothing.")] = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Price a span again by the rates now in force: shows what would be posted, then waits for a second person.

    What was posted is reversed and replaced in one posting; both stay in the log.
    Example: joulegate ledger reprice --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z --dry-run
    """
    from joulegate.client import Client

    form = chosen(output, as_json)
    if reason is None and not dry_run:
        raise typer.BadParameter("--reason is required")
    body = {"since": since, "until": until, "reason": reason or "dry run", "dry_run": dry_run}
    found = Client.from_home(timeout_s=600).post("/v1/ledger/repricings", body, repeatable=True)
    if form is Format.CSV:
        print_value(found["charges"], form)
    elif form is not Format.TABLE:
        print_value(found, form)
    else:
        show_rows(found["charges"], _CHARGES, form, empty="no balance would change")
        note(f"{found['records']} records and {found['roots']} roots of windows would be priced again")
        if found["change"] is not None:
            note(f"it waits for a second person: joulegate change approve {found['change']['change_id']}")


def list_changes(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that were decided too.")] = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a second person, the newest first."""
    from joulegate.client import Client

    form = chosen(output, as_json)
    found = Client.from_home().get("/v1/changes" + ("?all=true" if every else ""))["changes"]
    show_rows(found, _CHANGES, form, empty="nothing waits for a second person")


def show_change(*, change_id: ChangeArgument, output: OutputOption = Format.TABLE, as_json: JsonOption = False) -> None:
    """Show one change, with all that it would write."""
    from joulegate.client import Client

    form = chosen(output, as_json)
    found = Client.from_home().get(f"/v1/changes/{quote(change_id, safe='')}")
    print_value(found, Format.YAML if form is Format.TABLE else form)


def approve_change(
    *,
    change_id: ChangeArgument,
    comment: NoteOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Approve what somebody else wants to change, and so make it.

    Example: JOULEGATE_TOKEN=... joulegate change approve 1a2b3c4d5e6f
    """
    _decide(change_id, "approval", comment, chosen(output, as_json))


def reject_change(
    *,
    change_id: ChangeArgument,
    comment: NoteOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Reject a change, or take back one's own."""
    _decide(change_id, "rejection", comment, chosen(output, as_json))


def _decide(change_id: str, decision: str, comment: str | None, form: Format) -> None:
    from joulegate.client import Client

    client = Client.from_home(timeout_s=600)
    done = client.post(f"/v1/changes/{quote(change_id, safe='')}/{decision}", {"note": comment}, repeatable=True)
    facts = [(name.replace("_", " "), str(done[name])) for name in ("change_id", "kind", "subject", "state")]
    made = done.get("made")
    if isinstance(made, dict) and "repriced" in made:
        facts.append(("priced again", f"{made['repriced']} records and roots of windows"))
    show_facts(done, facts, form)


def _amounts(amounts: Any, currency: str | None) -> str:  # noqa: ANN401 -- JSON
    told = [display.amount(int(amounts[unit.value]), unit, currency) for unit in Unit if int(amounts[unit.value] or 0)]
    return ", ".join(told) or "nothing"


_DIFFERENCES: Final = (
    field("row", "row"),
    Column("kept", lambda row: row["kept"], is_number=True),
    Column("expected", lambda row: row["expected"], is_number=True),
)
_CLOSED: Final = (
    field("budget", "budget"),
    Column("from", lambda row: row["period"]["start"]),
    Column("to", lambda row: row["period"]["end"]),
    Column("carried", lambda row: "was closed before" if row["repeat"] else _amounts(row["carried"], row["currency"])),
)
_CHARGES: Final = (
    field("budget", "budget"),
    field("period", "period_start"),
    Column("would be posted", lambda row: _amounts(row["posted"], None)),
)
_CHANGES: Final = (
    field("id", "change_id"),
    field("kind", "kind"),
    field("subject", "subject"),
    field("state", "state"),
    field("requested by", "requested_by"),
    field("requested at", "requested_at"),
    field("decided by", "decided_by"),
    field("reason", "reason"),
)
