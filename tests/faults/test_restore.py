"""F15: a database that was put back from a backup is found by what was published, and the service says so loudly."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulegate.client import ApiError, Client
from joulegate.core.units import Unit
from joulegate_api.store import Store
from tests.api.running import budget, record, token_of
from tests.faults.processes import COMMAND, Api
from tests.postgres import PostgresServer

DATABASE = "joulegate_test"

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


def run(api: Api, *command: str) -> str:
    environment = {**os.environ, "JOULEGATE_HOME": str(api.home), "JOULEGATE_DATABASE": api.database}
    done = subprocess.run([*COMMAND, *command], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@contextmanager
def serving(api: Api) -> Iterator[Client]:
    with api:
        api.wait()
        yield Client(api.address, token_of("admin"))


def fetched(api: Api, path: str) -> bytes:
    headers = {"Authorization": f"Bearer {token_of('admin')}"}
    request = urllib.request.Request(f"{api.address}{path}", headers=headers)  # noqa: S310 -- loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- loopback
        found: bytes = answer.read()
        return found


def published(api: Api, client: Client, day: int) -> None:
    """Make a bundle: that signs and anchors everything that was accepted before."""
    made = client.post("/v1/reports", {"since": "2026-11-01T00:00:00Z", "until": f"2026-11-{day:02}T00:00:00Z"})
    fetched(api, f"/v1/reports/{made['id']}.bundle")


def read_only(api: Api) -> bool:
    """What the gauge of the log says."""
    return "joulegate_log_read_only 1" in fetched(api, "/metrics").decode().splitlines()


@pytest.fixture
def api(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("JOULEGATE_CHECKPOINT_S", "1")
    found = Api(tmp_path / "home", postgres_url)
    run(found, "log", "key")
    return found


def test_f15_a_restored_ledger_begins_with_the_last_checkpoint_or_takes_nothing_until_the_loss_is_accepted(
    api: Api, postgres_server: PostgresServer
) -> None:
    with serving(api) as client:
        client.put("/v1/budgets/vision", budget())
        client.post("/v1/records", record("before"))
        published(api, client, 21)
    backup = postgres_server.dump(DATABASE)

    postgres_server.restore(DATABASE, backup)
    with serving(api) as client:
        assert not read_only(api), "a backup of everything that was published goes on"
        client.post("/v1/records", record("after"))
        published(api, client, 22)

    postgres_server.restore(DATABASE, backup)
    with serving(api) as client:
        assert read_only(api)
        with pytest.raises(ApiError, match="the ledger is read-only") as refused:
            client.post("/v1/records", record("after"))
        assert (refused.value.status, refused.value.code) == (503, "read_only")
        assert client.get("/v1/records/before")["record_id"] == "before", "it can still be read"
        assert "1 published checkpoints were given up" in run(api, "log", "recover", "--accept-loss")
        until = time.monotonic() + 30
        while read_only(api) and time.monotonic() < until:
            time.sleep(0.2)
        client.post("/v1/records", record("after"))  # its sender kept it, and sends it again
        client.post("/v1/records", record("before"))  # a repeat
        published(api, client, 23)

    store = Store.open(api.database)
    try:
        assert store.trial_balance.run().differences == ()
        assert store.budgets.balance("vision").balances[Unit.MJ].posted == 2 * 60_000_000
    finally:
        store.close()
