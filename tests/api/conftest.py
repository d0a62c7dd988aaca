"""Databases for tests: SQLite and a real PostgreSQL, made by the real migrations, one for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import joulegate_migrations
from joulegate_api.store import Store
from tests.api.running import Service
from tests.postgres import PostgresServer

BOTH = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for this process; what is kept need only outlive the server, so nothing waits for the disk."""
    server = PostgresServer.claim()
    try:
        server.start(["fsync=off"])
        for left in server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'joulegate%'").split():
            server.sql(f"DROP DATABASE {left} WITH (FORCE)")
        server.sql("CREATE DATABASE joulegate_template")
        joulegate_migrations.upgrade(server.url("joulegate_template"))
        yield server
    finally:
        server.release()


@pytest.fixture(autouse=True, scope="session")
def plain_log() -> None:
    """The service's log in plain lines; structlog's own default draws every traceback with its variables, slowly."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    joulegate_migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "joulegate.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    name = "joulegate_test"
    postgres_server.sql(f"CREATE DATABASE {name} TEMPLATE joulegate_template")
    yield postgres_server.url(name)
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database; a test that takes this runs on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store on a fresh database, on both kinds."""
    opened = Store.open(database_url)
    yield opened
    opened.close()


@pytest.fixture
def service(store: Store, tmp_path: Path) -> Iterator[Service]:
    """The application on a fresh database, on both kinds."""
    running = Service(store, tmp_path)
    with running.client:
        yield running


@pytest.fixture
def sqlite_service(sqlite_url: str, tmp_path: Path) -> Iterator[Service]:
    """The application on SQLite, for what no database decides."""
    opened = Store.open(sqlite_url)
    running = Service(opened, tmp_path)
    with running.client:
        yield running
    opened.close()
