"""Real API processes that are killed and started again, and the processes that send to them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from joulegate.tokens import Role, format_row
from tests.api.running import principal, token_of
from tests.postgres import PostgresServer

READY_S = 60
METER = "node:node-1"
COMMAND = [sys.executable, "-c", "import sys; from joulegate.cli import main; sys.exit(main())"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Api:
    """One `joulegate serve` at an address that stays its own."""

    home: Path
    database: str
    port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        rows = [principal(role.value, role) for role in (Role.ADMIN, Role.OPERATOR)]
        rows.append(principal(METER, Role.METER))
        self.home.mkdir(exist_ok=True)
        (self.home / "tokens").write_text("".join(format_row(row) + "\n" for row in rows))
        environment = {**os.environ, "JOULEGATE_HOME": str(self.home), "JOULEGATE_DATABASE": self.database}
        with (self.home / "output").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", str(self.port)], env=environment, stdout=log, stderr=log
            )

    def wait(self) -> None:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            assert self.process is not None
            assert self.process.poll() is None, (self.home / "output").read_text()[-2_000:]
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer:  # noqa: S310 -- loopback
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the API does not get ready")

    def kill(self) -> None:
        """As the kernel does it when memory is short: no word, no goodbye."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.kills += 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Senders:
    """Processes of :mod:`tests.faults.sender`; what is left of them ends with the block."""

    def __init__(self, folder: Path, plans: Iterable[dict[str, Any]]) -> None:
        self.folder = folder
        self.plans = list(plans)
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for number, plan in enumerate(self.plans):
            path = self.folder / f"sender-{number}.json"
            path.write_text(
                json.dumps(plan | {"name": f"s{number}", "out": f"{path}.out", "token": token_of("operator")})
            )
            command = [sys.executable, "-m", "tests.faults.sender", str(path)]
            with Path(f"{path}.errors").open("wb") as errors:
                self.processes.append(subprocess.Popen(command, stderr=errors))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, where: TracebackType | None) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    @property
    def busy(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def answers(self) -> list[dict[str, Any]]:
        """What every sender was answered; each must have ended well."""
        told = []
        for number, process in enumerate(self.processes):
            path = self.folder / f"sender-{number}.json"
            assert process.wait() == 0, Path(f"{path}.errors").read_text()[-2_000:]
            lines = Path(f"{path}.out").read_text(encoding="utf-8").splitlines()
            told += [json.loads(line) for line in lines]
        return told


def trouble(
    senders: Senders, apis: Sequence[Api], server: PostgresServer | None, database: str, chance: Random, every_s: float
) -> int:
    """Kill an API process, or connections of the database, again and again while senders are busy; how often."""
    done = 0
    while senders.busy:
        time.sleep(every_s * chance.uniform(0.5, 1.5))
        if server is not None and chance.random() < 0.5:
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 -- a name of ours
                f"WHERE datname = '{database}' AND pid <> pg_backend_pid() AND random() < 0.5"
            )
            server.sql(query)
        else:
            chosen = chance.choice(apis)
            chosen.kill()
            chosen.start()
            chosen.wait()  # the other one serves meanwhile; one that is always starting proves nothing
        done += 1
    return done
