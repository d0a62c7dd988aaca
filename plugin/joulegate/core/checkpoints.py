"""Checkpoints of the log as text: C2SP tlog-checkpoint inside a C2SP signed note.

A note is a text that ends in a newline, an empty line, and signature lines
``— <name> <base64 of key hash and signature>``. A checkpoint's text is origin,
tree size and root. Everything is read strictly: what is accepted is written
again to the same bytes. Making and checking of signatures is
:mod:`joulegate.signing`'s; sources: https://c2sp.org/signed-note,
https://c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.merkle import HASH_BYTES

ED25519: Final = 0x01
"""The signature type of Ed25519 in key hashes and verifier keys (signed-note, Signature types)."""

LONGEST_NOTE: Final = 65_536
MOST_SIGNATURES: Final = 16

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_HASH_BYTES: Final = 4
_PREFIX: Final = "\u2014 "
_CHECKPOINT_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """An Ed25519 key by which notes are checked: the name of its holder, and its 32 bytes."""

    name: str
    public: bytes

    @property
    def key_hash(self) -> bytes:
        """The first 4 bytes of SHA-256 of name, newline, 0x01 and key (signed-note, Verifier keys)."""
        return sha256(self.name.encode() + b"\n" + bytes((ED25519,)) + self.public).digest()[:_HASH_BYTES]

    def __str__(self) -> str:
        """As a vkey: name, key hash in hex, base64 of type and key, between ``+``."""
        encoded = base64.b64encode(bytes((ED25519,)) + self.public).decode()
        return f"{self.name}+{self.key_hash.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text; it ends in a newline and holds no empty line before a signature."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        """The note as it is kept and sent."""
        lines = (
            f"{_PREFIX}{each.name} {base64.b64encode(each.key_hash + each.signature).decode()}\n"
            for each in self.signatures
        )
        return f"{self.text}\n{''.join(lines)}"

    def signed_by(self, key: VerifierKey) -> tuple[Signature, ...]:
        """The lines that claim to be this key's; whether they are is not known yet."""
        return tuple(each for each in self.signatures if (each.name, each.key_hash) == (key.name, key.key_hash))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: its origin, how many leaves it has, and its root."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def read_key(text: str) -> VerifierKey:
    """Read a vkey; raises :class:`InvalidInputError` for one that is not Ed25519, or whose hash is not its own."""
    name, first, rest = text.strip().partition("+")
    claimed, second, encoded = rest.partition("+")
    if not (first and second and _is_name(name)):
        raise InvalidInputError("is not name+hash+key", "key")
    data = _decoded(encoded, "key")
    if len(data) != 1 + _KEY_BYTES or data[0] != ED25519:
        raise InvalidInputError("is not a key of Ed25519", "key")
    key = VerifierKey(name, data[1:])
    if str(key) != text.strip():
        raise InvalidInputError(f"has the hash {claimed[:16]}, its own is {key.key_hash.hex()}", "key")
    return key


def read_note(text: str) -> Note:
    """Read a signed note; raises :class:`InvalidInputError` for anything that would not be written the same."""
    if len(text) > LONGEST_NOTE:
        raise InvalidInputError("is too long", "note")
    body, separator, lines = text.rpartition("\n\n")
    if not separator or not body or not lines.endswith("\n"):
        raise InvalidInputError("has no signature", "note")
    if any(ord(character) < ord(" ") and character != "\n" for character in text):
        raise InvalidInputError("holds a control character", "note")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MOST_SIGNATURES:
        raise InvalidInputError("has too many signatures", "note")
    note = Note(body + "\n", signatures)
    if str(note) != text:
        raise InvalidInputError("is not written the one way that it can be", "note")
    return note


def read_checkpoint(note: Note) -> Checkpoint:
    """The checkpoint that a note signs; further lines (extensions) are refused, because this log makes none."""
    lines = note.text.split("\n")[:-1]
    if len(lines) != _CHECKPOINT_LINES:
        raise InvalidInputError("does not have the three lines origin, size, root", "checkpoint")
    origin, size, root = lines
    if not origin or not (size.isascii() and size.isdigit()):
        raise InvalidInputError("has no origin, or a size that is no whole number", "checkpoint")
    if len(size) > len(str(2**63)):
        raise InvalidInputError("has a size that no tree has", "checkpoint")
    found = Checkpoint(origin, int(size), _decoded(root, "checkpoint"))
    if len(found.root) != HASH_BYTES or str(found) != note.text:
        raise InvalidInputError("is not written the one way that it can be", "checkpoint")
    return found


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_PREFIX).partition(" ")
    if not line.startswith(_PREFIX) or not _is_name(name):
        raise InvalidInputError("has a signature line that is none", "note")
    data = _decoded(encoded, "note")
    if len(data) <= _HASH_BYTES:
        raise InvalidInputError("has a signature without bytes", "note")
    return Signature(name, data[:_HASH_BYTES], data[_HASH_BYTES:])


def _is_name(name: str) -> bool:
    """No blank and no plus (signed-note, Format)."""
    return bool(name) and "+" not in name and not any(character.isspace() for character in name) and name.isprintable()


def _decoded(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidInputError("is not base64", what) from error
    if base64.b64encode(data).decode() != text:
        raise InvalidInputError("is not the canonical base64 of its bytes", what)
    return data
