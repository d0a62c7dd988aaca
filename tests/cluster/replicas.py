"""Two replicas of the API on one PostgreSQL, behind one address, as a Service is before them.

The balancer forwards TCP on loopback and looks into nothing: TLS and the API server's client certificate go through
to the replica that took the connection. A replica that takes none is passed over; connections to one that dies break.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import joulegate_migrations
from tests.cluster.admitting import Admitting, admitting
from tests.cluster.api import Api, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.operating import Operating, operates
from tests.cluster.programs import Clients
from tests.postgres import PostgresServer

_CHUNK = 65_536


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def balanced(ports: Sequence[int]) -> Iterator[int]:
    """A port whose connections go to `ports` in turn, without those that do not listen."""
    turns = itertools.cycle(range(len(ports)))
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(turns)
        for port in (*ports[first:], *ports[:first]):
            with contextlib.suppress(OSError):
                inward, outward = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(pump(reader, outward), pump(inward, writer))
                return
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(forward, "127.0.0.1", 0, backlog=1_024))

    def serve() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=serve, name="balancer")
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@dataclass(slots=True)
class Replica:
    """Another process of the API beside that of `gate`: the same database, tokens and key, ports of its own."""

    gate: Admitting
    port: int = field(default_factory=free_port)
    admission: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**self.gate.environment, "JOULEGATE_ADMISSION_PORT": str(self.admission)}
        command = [str(Path(sys.executable).parent / "joulegate"), "serve", "--port", str(self.port)]
        with (self.gate.home / "replica.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        eventually(self.answers, saying="the second replica is ready")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            self.process = None

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def postgres(name: str) -> Iterator[PostgresServer]:
    """A server with our tables in a database; what is kept need only outlive the server."""
    server = PostgresServer.claim()
    try:
        server.start(["fsync=off"])
        server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.sql(f"CREATE DATABASE {name}")
        joulegate_migrations.upgrade(server.url(name))
        yield server
    finally:
        server.release()


@contextmanager
def replicated(
    plane: ControlPlane, api: Api, tools: Clients, home: Path, database: str
) -> Iterator[tuple[Operating, Sequence[Admitting | Replica]]]:
    """Two replicas and an operator; webhooks and operator call the balancers alone."""
    ports = [free_port() for _ in range(2)]
    with balanced(ports) as front, admitting(plane, api, tools, home, database, (ports[0], front)) as gate:
        own = int(gate.client.address.rpartition(":")[2])
        second = Replica(gate, admission=ports[1])
        second.start()
        try:
            with (
                balanced((own, second.port)) as middle,
                operates(api, tools, gate, f"http://127.0.0.1:{middle}") as made,
            ):
                yield made, (gate, second)
        finally:
            second.stop()
