"""``joulegate verify``: checks a bundle offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulegate.cli.output import Format, JsonOption, OutputOption, chosen, show_facts

if TYPE_CHECKING:
    from joulegate.verification import Verdict

CHECK_FAILED = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    *,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder, or a canonical zip.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="VKEY", help="The log's key (name+hash+key), had from elsewhere.")
    ] = None,
    allow_bundled_key: Annotated[
        bool, typer.Option("--allow-bundled-key", help="Believe the key that the bundle brings; proves no origin.")
    ] = False,
    previous: Annotated[
        Path | None, typer.Option("--previous", metavar="BUNDLE", help="An earlier bundle that this must go on from.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option("--anchor", metavar="FILE", help="A checkpoint that was kept outside the database.")
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing in a bundle was changed, and recompute every figure of its report; needs no network.

    0 good; 3 tampered, inconsistent, or not proved to be authentic; 1 unreadable.
    """
    from joulegate.verification import Given, verify

    form = chosen(output, as_json)
    verdict = verify(bundle, Given(key, allow_bundled_key, previous, anchor))
    show_facts(verdict.written(), _facts(verdict), form)
    if not verdict.good:
        raise typer.Exit(CHECK_FAILED)


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    """What a person is told."""
    written = verdict.written()
    facts = [
        ("verdict", str(written["verdict"])),
        ("log", f"{verdict.origin}, {verdict.tree_size} entries, root {verdict.root}"),
        ("authenticity", verdict.authenticity + (f" ({verdict.key})" if verdict.key else "")),
        ("previous bundle", verdict.previous),
        ("anchor", verdict.anchor),
        ("pruned bodies", str(verdict.pruned)),
        ("report", f"{verdict.report_id}, digest {verdict.report_digest}"),
    ]
    for check in verdict.checks:
        facts.append(("passed" if check.passed else "FAILED", f"{check.name} ({check.items})"))
        facts += [("", fault) for fault in check.faults]
    return facts
