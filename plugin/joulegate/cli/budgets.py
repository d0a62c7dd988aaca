"""``joulegate budget``: limits as people write them, and what stands against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
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
    plain,
    print_value,
    show_rows,
)
from joulegate.cli.statements import UNITS, lines
from joulegate.core import display
from joulegate.core.errors import InvalidInputError

_MANAGED: Final = "managed_by_cluster"

if TYPE_CHECKING:
    from joulegate.cli.documents import Document


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Limits on energy, carbon and money, and what stands against them.", no_args_is_help=True)
    group.command("apply")(apply)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("balance")(balance)
    app.add_typer(group, name="budget")


def apply(
    *,
    file: Annotated[str, typer.Option("--filename", "-f", help="Budget objects as YAML or JSON; - is stdin.")],
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Make or change every budget of a file; nothing is sent where one of them is wrong.

    Where a cluster's objects are the only source, they are written there by `kubectl apply`, with your own rights.
    """
    from joulegate.cli.documents import read_documents
    from joulegate.cli.kubectl import apply_objects
    from joulegate.client import ApiError, Client

    form = chosen(output, as_json)
    documents = read_documents(file)
    if not documents:
        raise InvalidInputError("holds no object", file)
    bodies = [_checked(document) for document in documents]
    client = Client.from_home()
    try:
        applied = [client.put(f"/v1/budgets/{quote(body['metadata']['name'])}", body) for body in bodies]
    except ApiError as error:
        if error.code != _MANAGED:
            raise
        apply_objects(bodies)
        applied = bodies
        note("the cluster is the source of budgets here: written there, and its operator brings them")
    done = [row for row in applied if "change_id" not in row]
    if form is not Format.TABLE or done:
        show_rows(applied if form is not Format.TABLE else done, _COLUMNS, form, empty="")
    for row in applied:
        if "change_id" in row:
            note(f"budget {row['subject']} waits for a second person: joulegate change approve {row['change_id']}")


def _checked(document: Document) -> dict[str, Any]:
    from joulegate.core.objects import budget_from_object, budget_to_object

    try:
        return budget_to_object(budget_from_object(document.value))
    except InvalidInputError as error:
        raise document.error(error) from None


def list_(
    *,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List every open budget."""
    from joulegate.client import Client

    form = chosen(output, as_json)
    found = Client.from_home().get("/v1/budgets")["budgets"]
    show_rows(found, _COLUMNS, form, empty="there is no budget; `joulegate budget apply -f FILE` makes one")


def show(
    *,
    name: Annotated[str, typer.Argument(help="Name of the budget.")],
    at: Annotated[str | None, typer.Option(help="An instant of the period, such as 2026-11-23T08:00:00Z.")] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Explain a balance in words: its limit, what is posted and pending by run, and how long it lasts at today's rate.

    With -o json or yaml it is the object, as `budget apply` takes it, and the same facts as its status.
    """
    from joulegate.cli.remote import query
    from joulegate.client import Client

    form = chosen(output, as_json)
    found = Client.from_home().get(f"/v1/budgets/{quote(name, safe='')}/statement{query(at=at)}")
    if form is Format.TABLE:
        for line in lines(found):
            typer.echo(plain(line))
        return
    status = {key: value for key, value in found.items() if key != "budget"}
    print_value({**found["budget"], "status": status}, form)


def balance(
    *,
    name: Annotated[str, typer.Argument(help="Name of the budget.")],
    at: Annotated[str | None, typer.Option(help="An instant of the period, such as 2026-11-23T08:00:00Z.")] = None,
    as_of: Annotated[str | None, typer.Option(help="The balance as it stood at this instant.")] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show limit, posted, pending, available and debt of a budget in one of its periods."""
    from joulegate.cli.remote import query
    from joulegate.client import Client

    form = chosen(output, as_json)
    found = Client.from_home().get(f"/v1/budgets/{quote(name, safe='')}/balance{query(at=at, as_of=as_of)}")
    if form is not Format.TABLE:
        print_value(found, form)
        return
    period = found["period"]
    typer.echo(f"budget {found['budget']}, {period['start']} to {period['end']}")
    show_rows([{"what": what, **found[what]} for what in UNITS], _BALANCE, form, empty="")


def _amount(key: str) -> Column:
    def shown(row: Any) -> str:  # noqa: ANN401 -- JSON
        value = row[key]
        unit = UNITS[row["what"]]
        return display.amount(None if value is None else int(value), unit, row.get("currency"), missing="no limit")

    return Column(key, shown, is_number=True)


_BALANCE: Final = (field("unit", "what"), *map(_amount, ("limit", "posted", "pending", "available", "debt")))


def _limit(title: str, key: str) -> Column:
    return Column(title, lambda row: row["spec"]["limits"].get(key, "-"), is_number=True)


def _cost(row: Any) -> str:  # noqa: ANN401 -- JSON
    cost = row["spec"]["limits"].get("cost")
    return f"{cost['amount']} {cost['currency']}" if cost else "-"


def _period(row: Any) -> str:  # noqa: ANN401 -- JSON
    period = row["spec"]["period"]
    return f"{period['unit']}, {period.get('timezone', 'UTC')}" if "unit" in period else f"until {period['end']}"


_COLUMNS: Final = (
    Column("name", lambda row: row["metadata"]["name"]),
    Column("parent", lambda row: row["spec"].get("parent") or "-"),
    Column("period", _period),
    _limit("energy kWh", "energyKwh"),
    _limit("carbon kg", "carbonKg"),
    Column("cost", _cost, is_number=True),
    Column("enforcement", lambda row: row["spec"]["enforcement"]),
)
