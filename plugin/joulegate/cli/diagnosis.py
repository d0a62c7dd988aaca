"""``joulegate doctor`` and ``joulegate config``: what can be measured here, and what is set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import typer

from joulegate.cli import fetching
from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, show_rows
from joulegate.core.errors import JoulegateError, UnavailableError

if TYPE_CHECKING:
    from joulegate.gpu import Device

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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that can or cannot be done here, and why."""

    what: str
    available: bool
    detail: str


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor")(doctor)
    app.command("config")(config)


def doctor(
    *,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Say what can be measured here, what cannot, and why."""
    form = chosen(output, as_json)
    columns = (
        field("what", "what"),
        Column("here", lambda row: "yes" if row["available"] else "no"),
        field("detail", "detail"),
    )
    findings = [*_accelerators(), _host(), _replay(), *_api()]
    show_rows([asdict(finding) for finding in findings], columns, form, empty="")


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


def _accelerators() -> Iterator[Finding]:
    from joulegate.core import display
    from joulegate.core.units import Power
    from joulegate.gpu import open_reader

    try:
        reader = open_reader()
    except UnavailableError as error:
        yield Finding("accelerator energy", False, f"not measured: {error}")  # noqa: FBT003 -- a field
        return
    with reader:
        for device in reader.devices():
            name = f"accelerator {device.index} ({device.uuid})"
            try:
                reading = reader.read(device)
            except UnavailableError as error:
                yield Finding(name, False, f"{device.model}: {error}")  # noqa: FBT003 -- a field
                continue
            limit = device.enforced_limit_mw
            draws = "" if reading.instant_mw is None else f", draws {Power(reading.instant_mw).mw // 1000} W now"
            reads = "energy counter" if reading.counter_mj is not None else "power only"
            bound = "" if limit is None else f", limit {limit // 1000} W"
            seen = display.percent(device.sensor.seen)
            board = f"{device.model}: {reads}{bound}{draws}; sensor {device.sensor.name} sees {seen} of the time"
            detail = f"{board}; {_doubt(device)}"
            yield Finding(name, True, detail)  # noqa: FBT003 -- a field


def _doubt(device: Device) -> str:
    """How far its figures may be from the truth, and what would help."""
    from joulegate.core import display
    from joulegate.core.uncertainty import GAIN, GAIN_CALIBRATED

    said = [f"within {display.percent(GAIN)} at best, {display.percent(GAIN_CALIBRATED)} once calibrated"]
    if "sensor_assumed" in device.flags:
        said.append("the board is not known, so the widest sensor is assumed")
    if device.sensor.seen < 1:
        said.append("short windows are wider: measure 10 s or more")
    return "; ".join(said)


def _host() -> Finding:
    from joulegate.host import HostEnergy, open_host

    opened = open_host()
    if isinstance(opened, HostEnergy):
        return Finding("host energy", False, f"not measured: {opened.reason}")  # noqa: FBT003 -- a field
    opened.close()
    return Finding("host energy", True, opened.what)  # noqa: FBT003 -- a field


def _replay() -> Finding:
    name = os.environ.get("JOULEGATE_REPLAY")
    if not name:
        return Finding("replay", False, "not asked for; JOULEGATE_REPLAY=a100_square plays a recording")  # noqa: FBT003
    return Finding("replay", True, f"{name} is played where there is no GPU; figures say `replayed`")  # noqa: FBT003


def _api() -> Iterator[Finding]:
    from joulegate.client import Client

    try:
        client = Client.from_home(timeout_s=2.0, retry_s=0.0)
        client.read("/readyz")
    except JoulegateError as error:
        yield Finding("API", False, str(error))  # noqa: FBT003 -- a field
        return
    yield Finding("API", True, f"answers at {client.address}")  # noqa: FBT003 -- a field
