"""``joulegate up`` and ``joulegate serve``, which the command finds by its entry-point group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from joulegate_api import log_commands

if TYPE_CHECKING:
    from joulegate_api.server import Started

DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="SQLite or PostgreSQL; by default SQLite in the home.")
]
HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on; loopback unless given.")]
PortOption = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.")]


def register(app: typer.Typer) -> None:
    """Add the commands. What they need is imported when they run: other commands do not pay for it."""
    app.command("up")(up)
    app.command("serve")(serve)
    log_commands.register(app)


def up(database: DatabaseOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Run API, dashboard and admission in one process on the embedded default, until it is interrupted."""
    from joulegate_api import server, settings  # noqa: PLC0415 -- see register()

    server.up(settings.load({"database": database, "host": host, "port": port}), _tell)


def serve(database: DatabaseOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Run the service in production: the database is migrated and the tokens file is there already."""
    from joulegate_api import server, settings  # noqa: PLC0415 -- see register()

    server.serve(settings.load({"database": database, "host": host, "port": port}), _tell_address)


def _tell(started: Started) -> None:
    typer.echo(
        f"Joulegate listens on {started.address}\n"
        f"  dashboard  {started.login}  (opens once, within the hour)\n"
        f"  token      {started.token_file}\n"
        f"  database   {started.database}\n"
        "Interrupt to stop."
    )


def _tell_address(address: str) -> None:
    typer.echo(f"Joulegate listens on {address}")
