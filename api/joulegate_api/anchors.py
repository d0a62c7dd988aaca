"""Places outside the database where checkpoints are kept, so that a database that was put back is found out.

``file:FOLDER`` keeps the newest checkpoint and the last of each UTC day as files.
``git:FOLDER`` commits the newest to a repository, whose history keeps the others;
who pushes it elsewhere has it out of this machine's reach. The newest is always
in the file ``checkpoint``, which is what ``joulegate verify --anchor`` takes.
"""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from joulegate.core.checkpoints import Checkpoint, read_checkpoint, read_note
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.home import make_private, read_private, write_private

NEWEST: Final = "checkpoint"
_GIT_S: Final = 30
_AUTHOR: Final = ("-c", "user.name=joulegate", "-c", "user.email=joulegate@localhost", "-c", "commit.gpgsign=false")


class Anchor(Protocol):
    """A place outside the database."""

    @property
    def name(self) -> str:
        """How it was given."""

    def newest(self) -> str | None:
        """The checkpoint that was kept last, as a note; None where none ever was. Raises :class:`UnavailableError`."""

    def keep(self, note: str, size: int, at: datetime, *, although_smaller: bool = False) -> None:
        """Keep a note. One of a smaller tree never replaces one of a larger, unless a loss was accepted."""


def anchor_of(text: str) -> Anchor:
    """An anchor as it is written in the settings."""
    kind, _, place = text.partition(":")
    kinds: dict[str, Callable[[Path], Anchor]] = {"file": FileAnchor, "git": GitAnchor}
    if kind not in kinds or not place:
        raise InvalidInputError(f"{text[:60]!r} is neither file:FOLDER nor git:FOLDER", "anchors")
    return kinds[kind](Path(place))


def checkpoint_of(note: str, name: str) -> Checkpoint:
    """What a kept note says; raises :class:`UnavailableError` where it is none."""
    try:
        return read_checkpoint(read_note(note))
    except InvalidInputError as error:
        raise UnavailableError(f"what {name} keeps is no checkpoint: {error}") from error


@dataclass(frozen=True, slots=True)
class FileAnchor:
    """A folder, best on another disk or a mounted ConfigMap, that the database's administrators cannot write."""

    folder: Path

    @property
    def name(self) -> str:
        """How it was given."""
        return f"file:{self.folder}"

    def newest(self) -> str | None:
        """The newest checkpoint."""
        return _read(self.folder / NEWEST)

    def keep(self, note: str, size: int, at: datetime, *, although_smaller: bool = False) -> None:
        """Keep a note as the newest, and as the last of its day."""
        with _alone(self.folder):
            if _may_replace(self, size, although_smaller=although_smaller):
                write_private(self.folder / f"{at:%Y-%m-%d}", note.encode())
                write_private(self.folder / NEWEST, note.encode())


@dataclass(frozen=True, slots=True)
class GitAnchor:
    """A git repository; made where there is none."""

    folder: Path

    @property
    def name(self) -> str:
        """How it was given."""
        return f"git:{self.folder}"

    def newest(self) -> str | None:
        """The newest checkpoint that was committed: what only lies in the folder was not."""
        if not (self.folder / ".git").exists():
            return None
        known = self._git("rev-parse", "--verify", "--quiet", "HEAD", may_fail=True)
        return self._git("show", f"HEAD:{NEWEST}") if known else None

    def keep(self, note: str, size: int, at: datetime, *, although_smaller: bool = False) -> None:
        """Commit a note."""
        with _alone(self.folder):
            if not (self.folder / ".git").exists():
                self._git("init", "--quiet")
            if _may_replace(self, size, although_smaller=although_smaller) and self.newest() != note:
                write_private(self.folder / NEWEST, note.encode())
                self._git("add", NEWEST)
                message = f"{size} leaves at {at:%Y-%m-%dT%H:%M:%SZ}"
                self._git(*_AUTHOR, "commit", "--quiet", "--no-verify", "-m", message, "--", NEWEST)

    def _git(self, *arguments: str, may_fail: bool = False) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{self.name} cannot be used: {error}") from error
        if done.returncode and not may_fail:
            raise UnavailableError(f"{self.name} cannot be used: {' '.join(done.stderr.split())[:200]}")
        return "" if done.returncode else done.stdout


def keep_in(anchors: Sequence[Anchor], note: str, size: int, at: datetime, *, although_smaller: bool) -> list[str]:
    """Keep a note in each anchor; returns what went wrong, so that one anchor's fault is no other's."""
    faults = []
    for anchor in anchors:
        try:
            anchor.keep(note, size, at, although_smaller=although_smaller)
        except UnavailableError as error:
            faults.append(str(error))
    return faults


def _may_replace(anchor: Anchor, size: int, *, although_smaller: bool) -> bool:
    """A process that was stopped for long must not put an old checkpoint over a newer one."""
    before = anchor.newest()
    return before is None or although_smaller or size >= checkpoint_of(before, anchor.name).size


def _read(path: Path) -> str | None:
    text = read_private(path)
    return None if text is None else text + "\n"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_private(folder)
    try:
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UnavailableError(f"cannot write in {folder}: {error.strerror or error}") from error
