"""Options of the simulator: `pytest tests/simulation --sim-seed 123`, `--sim-seeds 10000`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import plain_log, postgres_server, postgres_url, sqlite_template, sqlite_url
from tests.simulation.server import House

__all__ = ["plain_log", "postgres_server", "postgres_url", "sqlite_template", "sqlite_url"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which seeds."""
    group = parser.getgroup("simulator")
    group.addoption("--sim-seed", type=int, help="run this seed alone")
    group.addoption("--sim-seeds", type=int, help="run so many seeds from 0 on instead of 500")


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path) -> Iterator[House]:
    with House(sqlite_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def postgres_house(postgres_url: str, tmp_path: Path) -> Iterator[House]:
    with House(postgres_url, tmp_path) as opened:
        yield opened
