"""Bundles: what an auditor takes away, as a folder or as one canonical zip.

A canonical zip has one form for its members: stored, in the order of their names, with a
fixed time, and nothing before, between or after them; so every byte of it is either a
member's or follows from them. It is read by that rule and not by its directory.
Any tool that knows zip unpacks it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from joulegate.core.errors import InvalidInputError, UnavailableError

CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "entries.jsonl"
KEYS: Final = "keys"
MANIFEST: Final = "manifest.json"
REPORT: Final = "report.json"
WINDOWS: Final = "windows.jsonl"
MEMBERS: Final = (CHECKPOINT, ENTRIES, KEYS, MANIFEST, REPORT, WINDOWS)
"""Every member of a bundle, in order; it has all of them and no other."""

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
# APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16: version 2.0, stored, 1 January 1980.
_LOCAL_MARK: Final = b"PK\x03\x04"
_CENTRAL_MARK: Final = b"PK\x01\x02"
_END_MARK: Final = b"PK\x05\x06"
_VERSION: Final = 20
_DATE: Final = 0x0021
_REGULAR: Final = 0o100644 << 16
_MADE_BY_UNIX: Final = 3 << 8 | _VERSION
_MOST: Final = 2**32 - 1
_CHUNK: Final = 1 << 20
_LONGEST_LINE: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    crc: int
    size: int
    offset: int

    def local(self) -> bytes:
        name = self.name.encode()
        fields = (_VERSION, 0, 0, 0, _DATE, self.crc, self.size, self.size, len(name), 0)
        return _LOCAL.pack(_LOCAL_MARK, *fields) + name

    def central(self) -> bytes:
        name = self.name.encode()
        fields = (_MADE_BY_UNIX, _VERSION, 0, 0, 0, _DATE, self.crc, self.size, self.size, len(name), 0, 0, 0, 0)
        return _CENTRAL.pack(_CENTRAL_MARK, *fields, _REGULAR, self.offset) + name


def pruned_line(digest: bytes) -> bytes:
    """The line of a leaf of which only the hash is left."""
    return f'"{digest.hex()}"\n'.encode()


def write_zip(file: IO[bytes], members: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    """Write a canonical zip to a file that can be sought; members come sorted, their content in pieces.

    Raises :class:`InvalidInputError` for more than 4 GiB: a folder carries that.
    """
    written: list[_Member] = []
    for name, pieces in members:
        begin = file.tell()
        file.write(_Member(name, 0, 0, begin).local())
        crc = size = 0
        for piece in pieces:
            file.write(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
        end = file.tell()
        if end > _MOST:
            raise InvalidInputError("is larger than 4 GiB", "bundle")
        written.append(_Member(name, crc, size, begin))
        file.seek(begin)
        file.write(written[-1].local())
        file.seek(end)
    file.write(_directory(written, file.tell()))


class Bundle:
    """The members of a bundle, by name."""

    def __init__(self, path: Path, places: Mapping[str, tuple[Path, int, int]]) -> None:
        """Use :func:`opened`; ``places`` are file, offset and size."""
        self.path = path
        self._places = places

    def size(self, name: str) -> int:
        """Bytes of a member."""
        return self._places[name][2]

    def read(self, name: str, most: int = 16 << 20) -> bytes:
        """A member whole; raises :class:`InvalidInputError` where it has more than ``most`` bytes."""
        if self.size(name) > most:
            raise InvalidInputError("is too large", name)
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member in pieces."""
        file, offset, left = self._places[name]
        with file.open("rb") as opened_file:
            opened_file.seek(offset)
            while left:
                piece = opened_file.read(min(left, _CHUNK))
                if not piece:
                    raise InvalidInputError("ends early", name)
                left -= len(piece)
                yield piece

    def lines(self, name: str, pieces: Iterable[bytes] | None = None) -> Iterator[bytes]:
        """The lines of a member, without their newline; raises :class:`InvalidInputError` where the last has none."""
        rest = b""
        for piece in self.pieces(name) if pieces is None else pieces:
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
            if len(rest) > _LONGEST_LINE:
                raise InvalidInputError("holds a line that is too long", name)
        if rest:
            raise InvalidInputError("does not end in a newline", name)


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Open a bundle; :class:`UnavailableError` where it cannot be read, :class:`InvalidInputError` where it is none."""
    try:
        if path.is_dir():
            yield Bundle(path, _folder(path))
            return
        with path.open("rb") as file:
            if file.read(4) != _LOCAL_MARK:
                raise UnavailableError(f"{path} is neither a folder nor a zip")
            file.seek(0)
            yield Bundle(path, _canonical(path, file))
    except OSError as error:
        raise UnavailableError(f"cannot read {error.filename or path}: {error.strerror or error}") from error


def _folder(path: Path) -> dict[str, tuple[Path, int, int]]:
    found = sorted(entry.name for entry in os.scandir(path))
    if tuple(found) != MEMBERS:
        odd = sorted(set(found) ^ set(MEMBERS))
        raise InvalidInputError(f"a bundle has {', '.join(MEMBERS)} and nothing else; this differs in {odd[:3]}")
    for name in MEMBERS:
        if (path / name).is_symlink() or not (path / name).is_file():
            raise InvalidInputError("is not a plain file", name)
    return {name: (path / name, 0, (path / name).stat().st_size) for name in MEMBERS}


def _canonical(path: Path, file: IO[bytes]) -> dict[str, tuple[Path, int, int]]:
    """The members of a zip that is what :func:`write_zip` writes, byte for byte."""
    total = os.fstat(file.fileno()).st_size
    members: list[_Member] = []
    for name in MEMBERS:
        offset = file.tell()
        head = file.read(_LOCAL.size)
        if len(head) != _LOCAL.size:
            raise InvalidInputError("ends early", name)
        _, _, _, _, _, _, crc, size, _, _, _ = _LOCAL.unpack(head)
        member = _Member(name, crc, size, offset)
        if head + file.read(len(name)) != member.local():
            raise InvalidInputError("is not where and how a canonical zip has it", name)
        if file.tell() + size > total:
            raise InvalidInputError("ends early", name)
        if _crc_of(file, size) != crc:
            raise InvalidInputError("has another checksum than the zip says", name)
        members.append(member)
    begin = file.tell()
    if file.read(total - begin + 1) != _directory(members, begin):
        raise InvalidInputError("the directory of the zip is not the canonical one")
    return {each.name: (path, each.offset + len(each.local()), each.size) for each in members}


def _crc_of(file: IO[bytes], size: int) -> int:
    crc = 0
    while size > 0:
        piece = file.read(min(size, _CHUNK))
        crc, size = zlib.crc32(piece, crc), size - len(piece)
    return crc


def _directory(members: Iterable[_Member], begin: int) -> bytes:
    records = [member.central() for member in members]
    whole = b"".join(records)
    return whole + _END.pack(_END_MARK, 0, 0, len(records), len(records), len(whole), begin, 0)
