"""The command as a person runs it, against the real API on a real socket."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import joulegate_migrations
from joulegate.cli.program import run
from joulegate_api.store import Store
from tests.api.running import Service, over_http, token_of


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout as one value: anything else beside it is an error."""
        return json.loads(self.out)


class Command:
    """Runs `joulegate` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str, stdin: str | None = None) -> Done:
        self._capsys.readouterr()
        before = sys.stdin
        if stdin is not None:
            sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        try:
            code = run(words)
        finally:
            sys.stdin = before
        said = self._capsys.readouterr()
        return Done(code, said.out, said.err)


@pytest.fixture
def joulegate(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command; where no API was started, none is known."""
    return Command(capsys)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("cli") / "empty.db"
    joulegate_migrations.upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
def api(empty_database: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service on a socket, whose address and token the command finds in its environment."""
    folder = tmp_path / "api"
    folder.mkdir()
    (folder / "joulegate.db").write_bytes(empty_database)
    store = Store.open(f"sqlite:///{folder / 'joulegate.db'}")
    service = Service(store, folder)
    with over_http(service.app) as address:
        monkeypatch.setenv("JOULEGATE_ADDRESS", address)
        monkeypatch.setenv("JOULEGATE_TOKEN", token_of("admin"))
        yield service
    store.close()
