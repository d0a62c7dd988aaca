"""F9: the API and the database are killed while they answer; whatever was acknowledged is there afterwards."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import pytest
from sqlalchemy import text

import joulegate_migrations
from joulegate.client import Client
from joulegate.core.budgets import Limits
from joulegate.core.errors import JoulegateError
from joulegate_api.store import Store
from tests.api.running import token_of
from tests.api.store.examples import budget
from tests.api.test_windows import batch, device, window
from tests.faults.processes import METER, Api
from tests.faults.sender import DEMAND
from tests.postgres import PostgresServer

KILLS: Final = 3
BETWEEN_S: Final = 1.0
ASKERS: Final = 4
MOST_WINDOWS: Final = 59
"""The example windows are the minutes of one hour."""

pytestmark = [pytest.mark.timeout(240)]


class Writers:
    """Ask for holds and send windows until they are told to stop; keep what was acknowledged, and nothing else."""

    def __init__(self, address: str) -> None:
        self.holds: dict[str, str] = {}
        self.accepted_seq = -1
        self._address = address
        self._over = threading.Event()
        jobs: list[Callable[[], None]] = [self._send]
        jobs += [lambda place=place: self._ask(place) for place in range(ASKERS)]  # type: ignore[misc]
        self._threads = [threading.Thread(target=job) for job in jobs]

    def _ask(self, place: int) -> None:
        client = Client(self._address, token_of("operator"), timeout_s=10, retry_s=0)
        number = 0
        while not self._over.is_set():
            root = f"root-{place}-{number}"
            body = {"resource": "jobs", "namespace": "vision", "name": root, "demand": DEMAND}
            try:
                answer = client.post(f"/v1/holds/{root}/request", body)
            except JoulegateError:
                time.sleep(0.05)
            else:
                self.holds[root] = answer["hold"]
            number += 1  # one that was lost is not asked for again: only its acknowledgement would make it certain

    def _send(self) -> None:
        client = Client(self._address, token_of(METER), timeout_s=10, retry_s=0)
        while not self._over.is_set() and self.accepted_seq < MOST_WINDOWS - 1:
            try:
                answer = client.post("/v1/windows", batch(window(self.accepted_seq + 1)))
            except JoulegateError:
                time.sleep(0.05)
            else:
                self.accepted_seq = answer["accepted_seq"]
                time.sleep(0.1)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def of_its_own() -> Iterator[PostgresServer]:
    """A server that waits for its disk, and that nobody else misses."""
    server = PostgresServer.claim()
    try:
        server.start()
        server.sql("DROP DATABASE IF EXISTS joulegate_killed WITH (FORCE)")
        server.sql("CREATE DATABASE joulegate_killed")
        joulegate_migrations.upgrade(server.url("joulegate_killed"))
        yield server
    finally:
        server.release()


def kill_and_start(server: PostgresServer) -> None:
    """The postmaster ends by SIGKILL, its children when they see that; the next start recovers from the log."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until = time.monotonic() + 30
    while True:
        try:
            server.start()
        except RuntimeError:  # a child still holds its memory
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def judged(url: str, writers: Writers, what: str) -> None:
    store = Store.open(url)
    with store._database.read() as connection:
        rows = connection.execute(text("SELECT root_uid, hold_id FROM holds")).all()
        seqs = set(connection.execute(text("SELECT window_seq FROM windows")).scalars())
        logged = connection.execute(text("SELECT count(*) FROM entries WHERE type = 'decision'")).scalar()
    there = dict(map(tuple, rows))
    lost = {root for root, hold in writers.holds.items() if there.get(root) != hold}
    assert lost == set()
    assert len(rows) == len(there) == logged, "one hold, one entry each"
    assert seqs >= set(range(writers.accepted_seq + 1))
    assert store.trial_balance.run().differences == ()
    store.close()
    sys.stdout.write(
        f"F9, {what} killed {KILLS} times: {len(writers.holds)} holds and {writers.accepted_seq + 1} windows "
        f"acknowledged, 0 lost; {len(rows) - len(writers.holds)} holds kept whose answer was lost\n"
    )


def furnished(url: str, api: Api) -> None:
    store = Store.open(url)
    store.budgets.put(budget(limits=Limits(energy_mj=10**17)), "admin")
    store.close()
    api.wait()
    Client(api.address, token_of(METER)).post("/v1/devices", device())


@pytest.mark.parametrize(
    "kind",
    [pytest.param("sqlite", marks=pytest.mark.slow), pytest.param("postgres", marks=pytest.mark.postgres)],
)
def test_f9_what_the_api_acknowledged_before_it_was_killed_is_kept(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    with Api(tmp_path / "api", url) as api:
        furnished(url, api)
        with Writers(api.address) as writers:
            for _ in range(KILLS):
                time.sleep(BETWEEN_S)
                api.kill()
                api.start()
                api.wait()
            time.sleep(BETWEEN_S)
    assert len(writers.holds) > KILLS
    judged(url, writers, f"API on {kind}")


@pytest.mark.postgres
def test_f9_what_was_acknowledged_before_the_database_was_killed_is_kept(tmp_path: Path) -> None:
    with of_its_own() as server:
        url = server.url("joulegate_killed")
        with Api(tmp_path / "api", url) as api:
            furnished(url, api)
            with Writers(api.address) as writers:
                for _ in range(KILLS):
                    time.sleep(BETWEEN_S)
                    before = len(writers.holds)
                    kill_and_start(server)
                    until = time.monotonic() + 30
                    while len(writers.holds) == before and time.monotonic() < until:
                        time.sleep(0.1)
                    assert len(writers.holds) > before, "the API finds its database again by itself"
        judged(url, writers, "PostgreSQL")
