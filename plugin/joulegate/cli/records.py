"""``joulegate records``: runs with their energy, carbon, money and where each figure comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, note, print_value, show_rows
from joulegate.core import display
from joulegate.core.errors import InvalidInputError, JoulegateError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Efficiency records: one for each run.", no_args_is_help=True)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("import")(import_)
    app.add_typer(group, name="records")


def list_(  # noqa: PLR0913 -- the options of one command
    *,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n")] = None,
    pipeline: Annotated[str | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option(help="training, fine-tuning, inference, evaluation, ...")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    variant: Annotated[str | None, typer.Option()] = None,
    outcome: Annotated[str | None, typer.Option(help="succeeded, failed or cancelled.")] = None,
    since: Annotated[str | None, typer.Option(help="Runs that began at this instant or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Runs that began before this instant.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List records, newest first."""
    from joulegate.cli.remote import pages
    from joulegate.client import Client

    form = chosen(output, as_json)
    filters = {"namespace": namespace, "pipeline": pipeline, "kind": kind, "model": model, "variant": variant}
    filters |= {"outcome": outcome, "since": since, "until": until}
    found = list(pages(Client.from_home(), "/v1/records", "records", limit, **filters))
    show_rows(found, _COLUMNS, form, empty="there is no record yet; `joulegate-run -- COMMAND` makes one")


def show(
    *,
    record_id: Annotated[str, typer.Argument(help="Id of the record, or uid of its run.")],
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show a record whole, with each slice of it and the rows that priced it."""
    from joulegate.client import ApiError, Client

    form = chosen(output, as_json)
    client = Client.from_home()
    try:
        found = client.get(f"/v1/records/{quote(record_id, safe='')}")
    except ApiError as error:
        if error.code != "not_found":
            raise
        found = client.get(f"/v1/runs/{quote(record_id, safe='')}")
    for record in found.get("records", [found]):
        _compare(record)
    print_value(found, Format.YAML if form is Format.TABLE else form)


def _compare(record: dict[str, Any]) -> None:
    """Put beside each second opinion by how much it differs from ours; null where either has no figure."""
    parts = [interval["energy_mj"] for device in record["devices"] for interval in device["intervals"]]
    ours = sum(int(part) for part in parts if part is not None) if parts and None not in parts else None
    for opinion in record.get("opinions", ()):
        theirs = opinion["accelerator_mj"]
        known = bool(ours) and theirs is not None
        opinion["difference_percent"] = round(100 * (int(theirs) / ours - 1), 2) if ours and known else None


def import_(
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Records as JSON lines, JSON or YAML; - is stdin.")],
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Send every record of a file; one that the API has already changes nothing."""
    from joulegate.client import ApiError, Client

    form = chosen(output, as_json)
    bodies = _bodies(file)
    client = Client.from_home()
    answers: list[dict[str, Any]] = []
    for place, body in bodies:
        try:
            answer = client.post("/v1/records", body, repeatable=True)
        except ApiError as error:
            sent = f" ({len(answers)} before it were taken)" if answers else ""
            raise JoulegateError(f"{place}: {error.detail}{sent}") from error
        answers.append({"record_id": answer["record_id"], "repeat": answer["repeat"]})
    repeats = sum(answer["repeat"] for answer in answers)
    if form is Format.TABLE:
        note(f"{len(answers) - repeats} records taken, {repeats} were there already")
    else:
        print_value(answers, form)


def _bodies(file: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The records of a file with the place of each. One JSON object a line is a document each."""
    from joulegate.cli.documents import parse_documents, read_text, shown_name

    text, name = read_text(file), shown_name(file)
    lines = text.splitlines()
    if len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines if line.strip()):
        # Kept as one document a line, so that a fault is on its own line.
        text = "\n--- ".join(line for line in lines if line.strip())
    found: list[tuple[str, Mapping[str, Any]]] = []
    for document in parse_documents(text, name):
        value = document.value
        items = value if isinstance(value, list) else value.get("records", [value]) if isinstance(value, dict) else None
        for index, item in enumerate(items or [None]):
            if not isinstance(item, dict):
                raise InvalidInputError("is not a record", document.place(f"[{index}]"))
            found.append((document.place(f"[{index}]"), item))
    if not found:
        raise InvalidInputError("holds no record", name)
    return found


def energy(row: Any) -> str:  # noqa: ANN401 -- JSON
    """Energy of a record's accelerators, and that it was replayed where it was."""
    value = row["footprint"]["energy_mj"]
    text = display.energy(None if value is None else int(value))
    return f"{text} (replayed)" if row["source"] == "replayed" and value is not None else text


def _carbon(row: Any) -> str:  # noqa: ANN401 -- JSON
    value = row["footprint"]["carbon_location_ug"]
    return display.carbon(None if value is None else int(value))


def _cost(row: Any) -> str:  # noqa: ANN401 -- JSON
    value = row["footprint"]["cost_micros"]
    return display.money(None if value is None else int(value), row["footprint"]["currency"])


def _quality(row: Any) -> str:  # noqa: ANN401 -- JSON
    return ", ".join(f"{one['name']} {one['value']:g}" for one in row["quality"]) or "-"


def _run(row: Any) -> str:  # noqa: ANN401 -- JSON
    run = row["run"]
    return str(run.get("step") or run.get("pipeline") or run["uid"])


_COLUMNS: Final = (
    Column("started", lambda row: row["started_at"].partition(".")[0].rstrip("Z") + "Z"),
    Column("run", _run),
    field("kind", "kind"),
    field("variant", "variant"),
    field("outcome", "outcome"),
    Column("energy", energy, is_number=True),
    Column("carbon", _carbon, is_number=True),
    Column("cost", _cost, is_number=True),
    Column("quality", _quality),
    field("record", "record_id"),
)
