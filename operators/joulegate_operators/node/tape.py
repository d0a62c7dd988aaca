"""What happened since the last windows were written, so that a meter that was killed goes on as if it had not been.

The tape begins with the state of every chain and goes on with what was fed to
them: readings, use, holds, cuts. Played back it gives the same windows. It is
written without waiting for the disk: a kill loses nothing of it, and after a
power cut the counters begin again anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from joulegate.home import make_private, write_private
from joulegate_operators.node.frames import Appender, Reach, framed, frames, passing

Event = dict[str, Any]

_NAME: Final = re.compile(r"tape-(\d{12})\.log")


class Tape:
    """The newest tape of a folder. Errors of the disk come as ``OSError``; the meter goes on without."""

    def __init__(self, folder: Path, *, reach: Reach = passing) -> None:
        """Name the folder, and make it."""
        self._folder = make_private(folder)
        self._reach = reach
        self._file: Appender | None = None
        self.damaged = 0
        """Stretches of the tape that could not be read."""

    def read(self) -> tuple[Event, list[Event]] | None:
        """The newest state that can be believed and what happened after it; None where there is none."""
        for path in reversed(self._files()):
            found = list(frames(path.read_bytes()))
            events = [_event(frame.content) for frame in found]
            self.damaged += events.count(None)
            if events and events[0] is not None and "state" in events[0]:
                return events[0]["state"], [event for event in events[1:] if event is not None]
        return None

    def begin(self, state: Mapping[str, Any]) -> None:
        """Begin a new tape with this state, durably; the older ones are removed."""
        files = self._files()
        number = 1 + max((int(path.name[5:17]) for path in files), default=0)
        path = self._folder / f"tape-{number:012d}.log"
        self._reach("tape.beginning")
        write_private(path, framed(_content({"state": state})))
        self._reach("tape.begun")
        if self._file is not None:
            self._file.close()
        self._file = Appender(path, self._reach)
        for old in files:
            with suppress(OSError):
                old.unlink()
        self._reach("tape.turned")

    def note(self, event: Event) -> None:
        """Append what happened; raises ``OSError``."""
        if self._file is not None:
            self._file.append(_content(event), durable=False)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._file.size if self._file is not None else 0

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))


def _content(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode()


def _event(content: bytes | None) -> Event | None:
    if content is None:
        return None
    try:
        event = json.loads(content)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
