"""Records in a file, each with its length and checksum; what is damaged is found and stepped over.

A frame is a mark, the length, the CRC-32 of length and content, and the content.
A changed byte spoils the frame that it lies in and no other: reading goes on at
the next place where a whole frame begins.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = b"JGF1"
_HEAD: Final = struct.Struct(">4sII")
LONGEST: Final = 1 << 26
"""No frame is longer; a length that says otherwise is damaged."""

Reach = Callable[[str], None]
"""Called at named points of what must survive a kill; tests kill the process there."""


def passing(_: str) -> None:
    """Go on: what every process but a test does at a named point."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One record: its content, or None where these bytes are damaged, and where it lies."""

    content: bytes | None
    begin: int
    end: int


def framed(content: bytes) -> bytes:
    """The frame of one record."""
    length = struct.pack(">I", len(content))
    return _HEAD.pack(MARK, len(content), zlib.crc32(content, zlib.crc32(length))) + content


def frames(data: bytes) -> Iterator[Frame]:
    """Every frame and every damaged stretch, in order; together they are all of ``data``."""
    at = spoiled = 0
    while at < len(data):
        content = _content_at(data, at)
        if content is None:
            at = data.find(MARK, at + 1)
            at = len(data) if at < 0 else at
            continue
        if spoiled < at:
            yield Frame(None, spoiled, at)
        end = at + _HEAD.size + len(content)
        yield Frame(content, at, end)
        at = spoiled = end
    if spoiled < at:
        yield Frame(None, spoiled, at)


def _content_at(data: bytes, at: int) -> bytes | None:
    head = data[at : at + _HEAD.size]
    if len(head) < _HEAD.size:
        return None
    mark, length, checksum = _HEAD.unpack(head)
    content = data[at + _HEAD.size : at + _HEAD.size + length]
    if mark != MARK or length > LONGEST or len(content) < length:
        return None
    return content if zlib.crc32(content, zlib.crc32(head[4:8])) == checksum else None


class Appender:
    """Appends frames to one file; a frame is there whole or, after an error, not at all.

    Raises ``OSError`` where the disk refuses. After a failed ``fsync`` nobody
    knows what the disk holds, so the file is not written again: :attr:`broken`.
    """

    def __init__(self, path: Path, reach: Reach = passing) -> None:
        """Open or make the file; what follows its last whole frame is kept as it is."""
        self.path = path
        self.broken = False
        self._reach = reach
        self._kind = path.name.partition("-")[0].partition(".")[0]
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._file).st_size

    def append(self, content: bytes, *, durable: bool) -> int:
        """Append one record and return where it begins; ``durable``: on the disk when this returns."""
        data = framed(content)
        begin = self.size
        self._reach(f"{self._kind}.before")
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written : written + _PIECE])
                self._reach(f"{self._kind}.piece")
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, begin)
            self.broken = os.fstat(self._file).st_size != begin
            raise
        self.size = begin + len(data)
        self._reach(f"{self._kind}.written")
        if durable:
            self.sync()
        return begin

    def sync(self) -> None:
        """Put on the disk what was appended."""
        try:
            os.fsync(self._file)
        except OSError:
            self.broken = True
            raise
        self._reach(f"{self._kind}.durable")

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


_PIECE: Final = 1 << 16


def sync_folder(folder: Path) -> None:
    """Make new and removed names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
