"""``joulegate doctor`` and ``joulegate config``: what can be measured here, and what is set."""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib.metadata import entry_points
from typing import Final

import typer

from joulegate.cli import fetching
from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, print_value, show_rows

SETTINGS: Final = "joulegate.settings"
"""The entry-point group in which services list theirs: a function that gives (variable, value, description)."""

_SECRET: Final = "JOULEGATE_TOKEN"  # noqa: S105 -- the name of a variable
_SECRETS: Final = (_SECRET, fetching.TOKEN, fetching.PASSWORD, fetching.PROMETHEUS_TOKEN)

OWN: Final = (
    ("JOULEGATE_HOME", "~/.local/share/joulegate", "Folder of state: token, address, database, spool."),
    ("JOULEGATE_ADDRESS", "", "Address of the API; without it the one that `joulegate up` wrote."),
    (_SECRET, "", "Token for the API; without it the one that `joulegate up` wrote."),
    ("JOULEGATE_TOKEN_FILE", "", "File with that token."),
    ("JOULEGATE_REPLAY", "", "Recording that is played where there is no GPU, such as a100_square."),
    ("JOULEGATE_HOST_MW", "", "Power of the host in mW where it cannot be read; its energy is then marked declared."),
    ("JOULEGATE_CALIBRATIONS", "", "File of calibrations of boards; without it calibrations.csv in the home folder."),
    ("JOULEGATE_CODECARBON", "", "Country, such as FRA: CodeCarbon measures beside each run, as a second opinion."),
    (fetching.TOKEN, "", "Token of Electricity Maps, for `joulegate factors fetch`."),
    (fetching.USER, "", "Name of an account of WattTime, for `joulegate factors fetch`."),
    (fetching.PASSWORD, "", "Password of that account."),
    (fetching.PROMETHEUS_TOKEN, "", "Token of a Prometheus server, for `joulegate factors fetch`."),
    ("JOULEGATE_CLUSTER", "local", "Cluster that records name."),
    ("JOULEGATE_NAMESPACE", "default", "Namespace that records name."),
    ("JOULEGATE_SITE", "default", "Site that records name."),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor")(doctor)
    app.command("config")(config)


def doctor(
    *,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Say what can be measured here, what cannot and why, how far off it may be, and what would improve it."""
    from joulegate.cli.findings import every_finding

    form = chosen(output, as_json)
    findings = list(every_finding(os.environ))
    if form is not Format.TABLE:
        print_value([asdict(finding) for finding in findings], form)
        return
    columns = (field("what", "what"), field("here", "here"), field("detail", "detail"))
    show_rows([line for finding in findings for line in finding.lines()], columns, form, empty="")


def config(
    *,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List every setting: the environment variable, its value in force, what it means."""
    form = chosen(output, as_json)
    rows = {variable: _own(variable, default, meaning) for variable, default, meaning in OWN}
    for entry in sorted(entry_points(group=SETTINGS), key=lambda entry: entry.name):
        try:
            listed = entry.load()()
        except ImportError:
            continue  # the settings of a service whose extra is not installed are in force nowhere here
        for variable, value, description in listed:
            is_set = variable in os.environ
            rows[variable] = {"variable": variable, "value": value, "set": is_set, "description": description}
    columns = (
        field("variable", "variable"),
        field("value", "value"),
        Column("from", lambda row: "environment" if row["set"] else "default"),
        field("description", "description"),
    )
    show_rows([rows[name] for name in sorted(rows)], columns, form, empty="")


def _own(variable: str, default: str, description: str) -> dict[str, object]:
    value = os.environ.get(variable)
    shown = "***" if variable in _SECRETS and value else value
    return {
        "variable": variable,
        "value": default if value is None else shown,
        "set": value is not None,
        "description": description,
    }
