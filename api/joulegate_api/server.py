"""The process: a socket that is really ours, a database that is really there, and one clean end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final

import uvicorn
from fastapi import FastAPI

import joulegate_migrations
from joulegate.core.errors import UnavailableError
from joulegate.home import make_private, read_private, write_private
from joulegate.tokens import EVERYTHING, Role, TokenRow, format_row, hash_of, new_token
from joulegate_api import logs, timers
from joulegate_api.app import create_app
from joulegate_api.auth import Principal
from joulegate_api.context import Context
from joulegate_api.listener import listening
from joulegate_api.sessions import login_path
from joulegate_api.settings import Settings, without_password
from joulegate_api.store import Store

OWNER: Final = "local"
"""The principal of whoever runs `joulegate up`."""

_BACKLOG: Final = 2_048
_GRACE_S: Final = 10
"""How long requests that are being worked on may take once the process was told to end."""


@dataclass(frozen=True, slots=True)
class Started:
    """Where a service listens, and what opens it."""

    address: str
    login: str
    token_file: str
    database: str


def up(settings: Settings, announce: Callable[[Started], None]) -> None:
    """Serve on the embedded default until SIGINT or SIGTERM.

    Makes the home folder, migrates the database, writes token and address, and
    tells ``announce`` once connections are taken. Raises
    :class:`~joulegate.core.errors.JoulegateError` with one line where that cannot be done.
    """
    os.umask(0o077)  # the database and what it keeps beside itself are nobody else's to read
    make_private(settings.home)
    with closing(listen(settings.host, settings.port)) as listener:
        joulegate_migrations.upgrade(settings.database_url)
        token = own_token(settings)
        with closing(Store.open(settings.database_url, settings.tenant)) as store:
            app = create_app(settings, store)
            app.state.context.keeper.make_key(secrets.token_hex(4))
            address = address_of(listener, settings.host)
            write_private(settings.home / "address", f"{address}\n".encode())
            owner = app.state.context.tokens.principal(token)
            key = app.state.context.sessions.link(owner or Principal(OWNER, frozenset(Role), (EVERYTHING,)))
            token_file = str(settings.home / "token")
            announce(Started(address, address + login_path(key), token_file, without_password(settings.database_url)))
            _run(app, listener)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve on a database that was migrated before, with principals that are there already (production)."""
    with (
        closing(listen(settings.host, settings.port)) as listener,
        closing(Store.open(settings.database_url, settings.tenant)) as store,
    ):
        app = create_app(settings, store)
        announce(address_of(listener, settings.host))
        _run(app, listener)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; raises :class:`UnavailableError` where the address cannot be had."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UnavailableError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
        ) from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """How this machine reaches a listening socket."""
    port = listener.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def own_token(settings: Settings) -> str:
    """The token of whoever started the service: the one of before, or a new one with its row."""
    file = settings.home / "token"
    rows = read_private(settings.tokens_path)
    token = read_private(file)
    if not token:
        token = new_token()
        write_private(file, f"{token}\n".encode())
    if hash_of(token) not in (rows or ""):
        row = TokenRow(hash_of(token), OWNER, frozenset({Role.ADMIN}), (EVERYTHING,))
        before = f"{rows}\n" if rows else "# token_hash principal roles grants\n"
        write_private(settings.tokens_path, f"{before}{format_row(row)}\n".encode())
    return token


def _run(app: FastAPI, listener: socket.socket) -> None:
    logs.configure()
    # uvicorn raises the signal that ended it once more; being told to end is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ended)
    config = uvicorn.Config(
        app,
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    parts: Context = app.state.context
    parts.keeper.start()
    parts.store.sequencer.take()  # the replica that began last leads, and says so in its metrics
    work = (*timers.jobs(parts.settings, parts.store, parts.metrics), *parts.keeper.jobs())
    with timers.running(work, parts.metrics), listening(parts, listen):
        uvicorn.Server(config).run(sockets=[listener])
    with suppress(UnavailableError):  # without the database another takes over in a few seconds all the same
        parts.store.sequencer.stand_down()


def _ended(_number: int, _frame: object) -> None:
    """Nothing more is to be done."""
