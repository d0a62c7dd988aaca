"""``joulegate exception``: more room for a while, asked for by one and approved by another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, note, show_rows
from joulegate.core.errors import InvalidInputError

if TYPE_CHECKING:
    from joulegate.core.exceptions import ExceptionObject

BudgetsOption = Annotated[
    list[str] | None, typer.Option("--budget", "-b", help="A budget to relieve; may stand again.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="More room in a budget for a while, asked for by one person and approved by another.", no_args_is_help=True
    )
    group.command("request")(request)
    group.command("approve")(approve)
    group.command("list")(list_)
    app.add_typer(group, name="exception")


def request(  # noqa: PLR0913 -- one an option
    *,
    budget: BudgetsOption = None,
    energy_kwh: Annotated[str | None, typer.Option(help="Energy in kWh, such as 10.")] = None,
    carbon_kg: Annotated[str | None, typer.Option(help="Carbon in kg of CO2e.")] = None,
    cost: Annotated[str | None, typer.Option(help='Money with its currency, such as "50 EUR".')] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is needed.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: an instant (2026-12-01T00:00:00Z) or a time from now (7d, 12h).")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace that it serves.")] = "default",
    ticket: Annotated[str | None, typer.Option(help="A ticket to go with it.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name; made up where it is left out.")] = None,
    file: Annotated[
        str | None, typer.Option("--filename", "-f", help="BudgetException objects as YAML instead; - is stdin.")
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Ask for more room. It gives nothing before somebody else approves it.

    Example: joulegate exception request -b vision -n vision --energy-kwh 10 --reason "a deadline" --expires 7d
    """
    from joulegate.client import Client
    from joulegate.core.exceptions import exception_to_object

    form = chosen(output, as_json)
    if file is not None:
        if any((budget, energy_kwh, carbon_kg, cost, reason, expires, ticket, name)):
            raise typer.BadParameter("-f holds everything; give either it or the options")
        asked = _from_file(file)
    else:
        for option, value in (("--budget", budget), ("--reason", reason), ("--expires", expires)):
            if not value:
                raise typer.BadParameter(f"{option} is required (or -f FILE)")
        asked = [_from_options(budget, (energy_kwh, carbon_kg, cost), reason, expires, namespace, ticket, name)]
    client = Client.from_home()
    made = [client.post("/v1/exceptions", exception_to_object(each), repeatable=True) for each in asked]
    show_rows(made, _COLUMNS, form, empty="")
    if form is Format.TABLE:
        for row in made:
            if row["status"]["state"] == "requested":
                note(f"somebody else approves it: joulegate exception approve {row['status']['id']}")


def _from_file(file: str) -> list[ExceptionObject]:
    from joulegate.cli.documents import read_documents, shown_name
    from joulegate.core.exceptions import exception_from_object

    found = []
    for document in read_documents(file):
        try:
            found.append(exception_from_object(document.value))
        except InvalidInputError as error:
            raise document.error(error) from None
    if not found:
        raise InvalidInputError("holds no object", shown_name(file))
    return found


def _from_options(
    budgets: list[str] | None,
    amounts: tuple[str | None, str | None, str | None],
    reason: str | None,
    expires: str | None,
    namespace: str,
    ticket: str | None,
    name: str | None,
) -> ExceptionObject:
    from joulegate.core.exceptions import KIND, exception_from_object
    from joulegate.core.objects import API_VERSION

    energy_kwh, carbon_kg, cost = amounts
    amount: dict[str, Any] = {"energyKwh": energy_kwh, "carbonKg": carbon_kg, "cost": _cost(cost)}
    given = {key: value for key, value in amount.items() if value is not None}
    if not given:
        raise typer.BadParameter("an amount is required: --energy-kwh, --carbon-kg or --cost")
    spec = {"budgets": budgets, "amount": given, "reason": reason, "expiresAt": _end(expires or "")}
    if ticket is not None:
        spec["ticket"] = ticket
    metadata = {"name": name or f"exception-{token_hex(4)}", "namespace": namespace}
    try:
        return exception_from_object({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})
    except InvalidInputError as error:
        option = _OPTIONS.get(error.field or "", error.field or "")
        raise InvalidInputError(error.message, option) from None


_OPTIONS: Final = {
    "spec.budgets": "--budget",
    "spec.budgets[0]": "--budget",
    "spec.amount.energyKwh": "--energy-kwh",
    "spec.amount.carbonKg": "--carbon-kg",
    "spec.amount.cost.amount": "--cost",
    "spec.amount.cost.currency": "--cost",
    "spec.reason": "--reason",
    "spec.ticket": "--ticket",
    "spec.expiresAt": "--expires",
    "metadata.name": "--name",
    "metadata.namespace": "--namespace",
}


def _cost(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    amount, _, currency = text.strip().partition(" ")
    if not currency:
        raise InvalidInputError(f"{text[:60]!r} needs its currency, such as 50 EUR", "--cost")
    return {"amount": amount, "currency": currency.strip()}


def _end(text: str) -> str:
    """An instant, or a time from now, as an instant."""
    from joulegate.core.periods import format_instant, parse_duration_ns

    if "T" in text:
        return text
    try:
        span = timedelta(microseconds=parse_duration_ns(text, "") // 1_000)
        return format_instant((datetime.now(UTC) + span).replace(microsecond=0))
    except (InvalidInputError, OverflowError):
        message = f"{text[:60]!r} is neither an instant such as 2026-12-01T00:00:00Z nor a time such as 7d"
        raise InvalidInputError(message, "--expires") from None


def approve(
    *,
    exception_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `joulegate exception list` shows it.")],
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Approve what somebody else asked for; this needs the right on every budget that it names.

    Example: JOULEGATE_TOKEN=... joulegate exception approve vision.exception-1a2b3c4d
    """
    from joulegate.client import Client

    form = chosen(output, as_json)
    done = Client.from_home().post(f"/v1/exceptions/{quote(exception_id, safe='')}/approval", {}, repeatable=True)
    show_rows([done], _COLUMNS, form, empty="")


def list_(
    *,
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Only those of this budget.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only those of this namespace.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those that are requested, approved or expired.")] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List exceptions, the newest first."""
    from joulegate.cli.remote import query
    from joulegate.client import Client

    form = chosen(output, as_json)
    if state not in (None, "requested", "approved", "expired"):
        raise typer.BadParameter(f"{state!r} is not one of requested, approved, expired")
    path = f"/v1/exceptions{query(budget=budget, namespace=namespace, state=state)}"
    show_rows(Client.from_home().get(path)["exceptions"], _COLUMNS, form, empty="there is no such exception")


def _amount(row: Any) -> str:  # noqa: ANN401 -- JSON
    amount = row["spec"]["amount"]
    told = [f"{amount['energyKwh']} kWh"] if "energyKwh" in amount else []
    told += [f"{amount['carbonKg']} kg CO2e"] if "carbonKg" in amount else []
    told += [f"{amount['cost']['amount']} {amount['cost']['currency']}"] if "cost" in amount else []
    return ", ".join(told)


_COLUMNS: Final = (
    Column("id", lambda row: row["status"]["id"]),
    Column("state", lambda row: row["status"]["state"]),
    Column("budgets", lambda row: ", ".join(row["spec"]["budgets"])),
    Column("amount", _amount),
    Column("requested by", lambda row: row["spec"].get("requestedBy", "-")),
    Column("approved by", lambda row: row["spec"].get("approvedBy", "-")),
    Column("expires", lambda row: row["spec"]["expiresAt"]),
    Column("reason", lambda row: row["spec"]["reason"]),
)
