"""Windows that the API refuses as they are: kept on the disk one by one, until it takes them.

A window that breaks a rule of the API would hold up every window after it. So it
is put here, and the API is told that its number is kept back; then sending goes on.
Nothing here is ever removed but by the API's yes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from joulegate.home import make_private, write_private
from joulegate_operators.node.segments import WindowJson

_ENDING: Final = ".refused.json"


class Refusals:
    """A folder of refused windows, each with its incarnation and the API's reason."""

    def __init__(self, folder: Path) -> None:
        """Name the folder, and make it."""
        self._folder = make_private(folder)

    def keep(self, incarnation: str, window: WindowJson, reason: str) -> None:
        """Put a window on the disk, durably; raises :class:`~joulegate.core.errors.UnavailableError`."""
        row = {"incarnation": incarnation, "reason": reason, "window": window}
        write_private(self._path(incarnation, window), json.dumps(row, separators=(",", ":")).encode())

    def waiting(self) -> Iterator[tuple[str, WindowJson]]:
        """Every refused window with its incarnation; a file that cannot be read is left for people to look at."""
        for path in self._files():
            with suppress(OSError, ValueError, KeyError, TypeError):
                row: dict[str, Any] = json.loads(path.read_bytes())
                yield str(row["incarnation"]), dict(row["window"])

    def taken(self, incarnation: str, window: WindowJson) -> None:
        """The API has it now."""
        with suppress(OSError):  # sent once more after the next start, which changes nothing
            self._path(incarnation, window).unlink(missing_ok=True)

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._files())

    def _path(self, incarnation: str, window: WindowJson) -> Path:
        log = sha256(incarnation.encode()).hexdigest()[:16]
        return self._folder / f"{log}-{window['window_seq']:015d}{_ENDING}"

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.name.endswith(_ENDING))
