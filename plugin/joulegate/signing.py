"""Ed25519 signatures of notes; the only import of ``cryptography``.

Signing keys live in a file outside the database, in the form that other tools
for signed notes use: ``PRIVATE+KEY+<name>+<hash>+<base64 of 0x01 and seed>``, one
a line, the one in use first. While a rotation lasts the file holds the old key too,
and every checkpoint is signed by both.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from joulegate.core.checkpoints import ED25519, Checkpoint, Note, Signature, VerifierKey
from joulegate.core.errors import InvalidInputError
from joulegate.home import make_private, read_private, write_private

_PREFIX: Final = "PRIVATE+KEY+"
_SEED_BYTES: Final = 32
_PARTS: Final = 3


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A key that signs for ``name``."""

    name: str
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> VerifierKey:
        """The key by which its signatures are checked."""
        return VerifierKey(self.name, self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, text: str) -> Signature:
        """The signature line of a note's text."""
        own = self.verifier
        return Signature(own.name, own.key_hash, self.private.sign(text.encode()))

    def written(self) -> str:
        """The line of a key file; a secret."""
        seed = self.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        encoded = base64.b64encode(bytes((ED25519,)) + seed).decode()
        return f"{_PREFIX}{self.name}+{self.verifier.key_hash.hex()}+{encoded}"


def new_key(name: str) -> SigningKey:
    """A new key of the system's random numbers."""
    return SigningKey(name, Ed25519PrivateKey.generate())


def read_signing_key(line: str) -> SigningKey:
    """Read a line of a key file; raises :class:`InvalidInputError`, never with the secret in it."""
    name, _, rest = line.strip().removeprefix(_PREFIX).partition("+")
    claimed, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not line.startswith(_PREFIX) or len(data) != 1 + _SEED_BYTES or data[0] != ED25519 or not name:
        raise InvalidInputError("is not a signing key of Ed25519", "signing key")
    key = SigningKey(name, Ed25519PrivateKey.from_private_bytes(data[1:]))
    if key.verifier.key_hash.hex() != claimed:
        raise InvalidInputError("has a hash that is not its own", "signing key")
    return key


def read_keys(path: Path) -> tuple[SigningKey, ...]:
    """The keys of a file, the one in use first; none where there is no file."""
    text = read_private(path)
    return tuple(read_signing_key(line) for line in (text or "").splitlines() if line.strip())


def write_keys(path: Path, keys: Iterable[SigningKey]) -> None:
    """Keep keys in a file of mode 0600, whole or not at all."""
    make_private(path.parent)
    write_private(path, "".join(f"{key.written()}\n" for key in keys).encode())


def signed(checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> Note:
    """A checkpoint as a note with a signature of each key."""
    text = str(checkpoint)
    return Note(text, tuple(key.sign(text) for key in keys))


def key_statement(key: str, after: str | None) -> str:
    """The text that a key signs when it begins to sign the log, and with it the key ``after`` that it follows."""
    return f"joulegate key\n{key}\nafter {after or 'none'}\n"


def is_signed(text: str, signature: Signature, key: VerifierKey) -> bool:
    """Whether a signature line is this key's, of this text."""
    if (signature.name, signature.key_hash) != (key.name, key.key_hash):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature.signature, text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def is_note_of(note: Note, key: VerifierKey) -> bool:
    """Whether the key signed the note; a line that claims to be its and is not makes the note bad (signed-note)."""
    lines = note.signed_by(key)
    return bool(lines) and all(is_signed(note.text, line, key) for line in lines)
