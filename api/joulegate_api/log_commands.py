"""``joulegate log``: keys, recovery and retention, on the machine that has the database and the keys."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from joulegate_api.log_keeper import LogKeeper

_KEPT_YEARS: Final = 10
DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="SQLite or PostgreSQL; by default SQLite in the home.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Keys, recovery and retention of the log.", no_args_is_help=True)
    group.command("key")(key)
    group.command("rotate")(rotate)
    group.command("recover")(recover)
    group.command("prune")(prune)
    group.command("forget")(forget)
    app.add_typer(group, name="log")


def key(database: DatabaseOption = None) -> None:
    """Print the keys (vkey) that check the log, the one in use first; make one where there is none."""
    with _keeper(database) as keeper:
        keeper.make_key(secrets.token_hex(4))
        for each in list(keeper.keys()):
            typer.echo(str(each.verifier))


def rotate(database: DatabaseOption = None) -> None:
    """Begin to sign with a new key. The old one signs too, until its line is taken out of the key file."""
    with _keeper(database) as keeper:
        typer.echo(str(keeper.rotate().verifier))


def recover(
    *,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Entries that were published are lost; say so in the log.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Go on after the database was restored from a backup that is older than what was published."""
    if not accept_loss:
        raise typer.BadParameter("needs --accept-loss: what was published and is not in this database stays lost")
    with _keeper(database) as keeper:
        lost = keeper.recover(getpass.getuser())
    typer.echo(f"{lost} published checkpoints were given up; the log tells of each" if lost else "nothing was lost")


def prune(
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="D", help="Bodies of entries from before this day go; ten years ago."),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Delete the bodies of old entries; their hashes stay, and the log tells of it."""
    try:
        day = _years_ago(datetime.now(UTC).date()) if before is None else date.fromisoformat(before)
    except ValueError:
        raise typer.BadParameter(f"{before!r:.60} is no day such as 2016-11-01", param_hint="--before") from None
    with _keeper(database) as keeper:
        index, count = keeper.prune(datetime(day.year, day.month, day.day, tzinfo=UTC), getpass.getuser())
    typer.echo(f"{count} bodies of entries below index {index} were deleted")


def forget(
    name: Annotated[str, typer.Argument(help="A person, a pseudonym (person:...) or a commitment (text:...).")],
    database: DatabaseOption = None,
) -> None:
    """Erase who or what the log means by a pseudonym or commitment; the log itself stays as it is."""
    with _keeper(database) as keeper:
        count = keeper.forget(name)
    typer.echo(f"{count} rows were erased")


def _years_ago(day: date) -> date:
    """The day ten years before; the last of February where there is no 29th."""
    try:
        return day.replace(year=day.year - _KEPT_YEARS)
    except ValueError:
        return day.replace(year=day.year - _KEPT_YEARS, day=28)


@contextmanager
def _keeper(database: str | None) -> Iterator[LogKeeper]:
    from joulegate_api import settings  # noqa: PLC0415 -- other commands do not pay for it
    from joulegate_api.log_keeper import LogKeeper  # noqa: PLC0415 -- as above
    from joulegate_api.store import Store  # noqa: PLC0415 -- as above

    options = settings.load({"database": database})
    store = Store.open(options.database_url, options.tenant)
    try:
        yield LogKeeper(options, store)
        store.sequencer.stand_down()
    finally:
        store.close()
