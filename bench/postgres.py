"""A real PostgreSQL that waits for its disk, and ``pgbench`` on it: what a database can do at all, in the same run."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Identifier

import joulegate_migrations
from tests.postgres import PostgresServer

DATABASE = "joulegate_bench"
HOT = "CREATE TABLE hot (id int PRIMARY KEY, pending bigint NOT NULL); INSERT INTO hot VALUES (1, 0)"
ONE_ROW = "UPDATE hot SET pending = pending + 1 WHERE id = 1;\n"


@contextmanager
def durable() -> Iterator[PostgresServer]:
    """A server with its own defaults for durability, our tables, and one row that ``pgbench`` will update."""
    server = PostgresServer.claim()
    try:
        server.start()
        server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.sql(f"CREATE DATABASE {DATABASE}")
        joulegate_migrations.upgrade(server.url(DATABASE))
        server.sql(HOT, DATABASE)
        yield server
        server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    finally:
        server.release()


@dataclass(frozen=True, slots=True)
class Copied:
    """What a bare COPY moved, and in which time."""

    seconds: float
    octets: int
    rows: int


def copied(server: PostgresServer, chosen: Mapping[str, str]) -> Copied:
    """Copy rows of these tables, called t in their conditions, into tables without keys: what the disk can do."""
    seconds, octets, rows = 0.0, 0, 0
    with psycopg.connect(server.url(DATABASE), autocommit=True) as connection:
        for table, condition in chosen.items():
            query = SQL("COPY (SELECT * FROM {} AS t WHERE {}) TO STDOUT").format(Identifier(table), SQL(condition))
            with connection.cursor() as cursor, cursor.copy(query) as reading:
                blocks = [bytes(block) for block in reading]
            bare = Identifier(f"bare_{table}")
            connection.execute(SQL("CREATE TABLE {} (LIKE {})").format(bare, Identifier(table)))
            begun = time.perf_counter()
            with connection.cursor() as cursor:
                with cursor.copy(SQL("COPY {} FROM STDIN").format(bare)) as writing:
                    for block in blocks:
                        writing.write(block)
                rows += cursor.rowcount
            seconds += time.perf_counter() - begun
            connection.execute(SQL("DROP TABLE {}").format(bare))
            octets += sum(map(len, blocks))
    return Copied(seconds, octets, rows)


def one_row_updates(server: PostgresServer, in_flight: int, seconds: int) -> float:
    """Updates of one row a second, prepared, each its own durable transaction."""
    command = [str(server.programs / "pgbench"), "-h", str(server.folder), "-U", "postgres", "-n", "-M", "prepared"]
    command += ["-c", str(in_flight), "-j", str(min(2, in_flight)), "-T", str(seconds), "-f", "/dev/stdin", DATABASE]
    done = subprocess.run(command, input=ONE_ROW, capture_output=True, text=True, check=True)
    return float(next(line.split()[2] for line in done.stdout.splitlines() if line.startswith("tps")))
