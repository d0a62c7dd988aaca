"""The real application in this process, on a real database; it can be killed at any statement and started again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import anyio.to_thread
import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert, text

from joulegate.tokens import Role, TokenRow, format_row
from joulegate_api.app import create_app
from joulegate_api.auth import Tokens
from joulegate_api.context import Context
from joulegate_api.history import History
from joulegate_api.settings import Settings, load
from joulegate_api.store import Store
from joulegate_api.store.database import Database
from joulegate_api.store.tables import versions
from tests.api.running import principal
from tests.simulation.network import Call, Reply, Time

NODE: Final = "node:node-1"


class KilledError(Exception):
    """The process ended here; nothing after this point was done by it."""


class TimedContext(Context):
    """The service's parts, by the clock of the world."""

    __slots__ = ("time",)
    time: Time

    def now(self) -> datetime:
        return self.time()


class House:
    """What every world of a process shares: the application, an event loop, a database with a tenant for each world."""

    def __init__(self, url: str, folder: Path) -> None:
        rows: list[TokenRow] = [principal(role.value, role) for role in Role]
        rows.append(principal(NODE, Role.METER))
        (folder / "tokens").write_text("".join(format_row(row) + "\n" for row in rows))
        self.url = url
        self.settings: Settings = load({"home": folder})
        self.tokens = Tokens(self.settings.tokens_path)
        self.runner = asyncio.Runner()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(anyio.to_thread, "run_sync", _at_once)
        self.database = Database(url)  # one for all worlds: each new one would compile every statement again
        self._app: FastAPI | None = None
        self._worlds = 0

    def tenant(self) -> str:
        self._worlds += 1
        return f"world-{self._worlds}"

    def app(self, context: Context) -> FastAPI:
        """The application around these parts; making its routes anew for each world would take most of the time."""
        if self._app is None:
            self._app = create_app(self.settings, context.store)
        self._app.state.context = context
        return self._app

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()
        self._patch.undo()
        self.runner.close()


@dataclass(frozen=True, slots=True)
class Done:
    """A call that the service worked on to its end."""

    at: datetime
    call: Call
    reply: Reply

    @property
    def answer(self) -> Any:
        return json.loads(self.reply.body) if self.reply.body else None


class Server:
    """One service of one tenant. ``dies_after`` counts statements down to its end; None lets it live."""

    def __init__(self, house: House, time: Time) -> None:
        self.house = house
        self.time = time
        self.tenant = house.tenant()
        self.done: list[Done] = []
        self.deaths = 0
        self.dies_after: int | None = None
        engine = house.database._engine
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._statement)
        with house.database.write() as connection:
            connection.execute(insert(versions).values(tenant=self.tenant, hierarchy=0, rates=0))
        self._start()

    def _start(self) -> None:
        self.house.database._clock = self.time
        self.store = Store(self.house.database, self.tenant)
        context = TimedContext(self.house.settings, self.store, self.house.tokens, History(self.store))
        object.__setattr__(context, "time", self.time)
        self.app = self.house.app(context)

    def _statement(self, *_: object) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise KilledError

    def restart(self) -> None:
        """End, whatever was being done, and begin again."""
        self.dies_after = None
        self.deaths += 1
        self.house.database.close()  # its connections end with it
        self._start()

    def __call__(self, call: Call) -> Reply:
        """Serve one request; one on which the process died is answered by nobody."""
        at = self.time.instant
        reply = self.house.runner.run(_asked(self.app, call))
        if self.dies_after is not None and self.dies_after < 0:
            self.restart()
            raise ConnectionResetError
        self.done.append(Done(at, call, reply))
        return reply

    def timer(self) -> None:
        """What the service does by itself from time to time."""
        self.store.releases.sweep()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of this tenant, as plain values; ``query`` has :tenant."""
        with self.store._database.read() as connection:
            return [tuple(row) for row in connection.execute(text(query), {"tenant": self.tenant})]

    def close(self) -> None:
        engine = self.house.database._engine
        event.remove(engine, "before_cursor_execute", self._statement)
        event.remove(engine, "commit", self._statement)


async def _at_once(work: Callable[..., Any], *arguments: Any, **_: object) -> Any:
    """One request at a time in one thread: the same seed does the same."""
    return work(*arguments)


async def _asked(app: Callable[..., Any], call: Call) -> Reply:
    parts = urlsplit(call.path)
    headers = [(name.lower().encode(), value.encode()) for name, value in call.headers.items()]
    headers += [(b"host", b"127.0.0.1"), (b"content-length", str(len(call.body)).encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Reply(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))
