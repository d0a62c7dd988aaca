"""Databases for tests of faults."""

from __future__ import annotations

from tests.api.conftest import database_url, plain_log, postgres_server, postgres_url, sqlite_template, sqlite_url

__all__ = ["database_url", "plain_log", "postgres_server", "postgres_url", "sqlite_template", "sqlite_url"]
