"""Keys lie in a private file, and what they sign is checked by anybody who has the other half."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from joulegate import signing
from joulegate.core.checkpoints import Checkpoint, read_key, read_note
from joulegate.core.errors import InvalidInputError
from tests.plugin.core.test_checkpoints import NEUMANN, NOTE

# The Go project, sumdb/note, note_test.go (BSD-3-Clause): a key that was published to be used in tests.
NEUMANN_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
HEAD = Checkpoint("joulegate/x/default", 7, bytes(32))


def test_the_note_of_the_specification_is_signed_by_its_key() -> None:
    assert signing.is_note_of(read_note(NOTE), read_key(NEUMANN))


def test_the_key_of_the_specification_signs_the_same_note() -> None:
    key = signing.read_signing_key(NEUMANN_SECRET)
    assert str(key.verifier) == NEUMANN
    text = read_note(NOTE).text
    assert (key.sign(text),) == read_note(NOTE).signatures


def test_another_text_another_key_or_another_line_is_not_signed() -> None:
    key, other = signing.new_key("a"), signing.new_key("a")
    note = signing.signed(HEAD, [key])
    assert signing.is_note_of(note, key.verifier)
    assert not signing.is_note_of(note, other.verifier)
    assert not signing.is_note_of(replace(note, text=note.text.replace("7", "8")), key.verifier)
    forged = replace(note.signatures[0], signature=bytes(64))
    assert not signing.is_note_of(replace(note, signatures=(*note.signatures, forged)), key.verifier)
    assert not signing.is_note_of(replace(note, signatures=()), key.verifier)


def test_a_rotation_is_signed_by_both() -> None:
    old, new = signing.new_key("a"), signing.new_key("a")
    note = read_note(str(signing.signed(HEAD, [new, old])))
    assert signing.is_note_of(note, old.verifier)
    assert signing.is_note_of(note, new.verifier)


def test_keys_are_kept_privately_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "log" / "keys"
    assert signing.read_keys(path) == ()
    keys = [signing.new_key("a"), signing.new_key("b")]
    signing.write_keys(path, keys)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [key.verifier for key in signing.read_keys(path)] == [key.verifier for key in keys]


@pytest.mark.parametrize(
    "line", ["", "x", NEUMANN, NEUMANN_SECRET.replace("c74f20a3", "c74f20a4"), NEUMANN_SECRET[:-4]]
)
def test_what_is_no_signing_key_is_refused_without_showing_it(line: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        signing.read_signing_key(line)
    assert "AYEKFAL" not in str(caught.value)


def test_a_key_does_not_show_its_secret() -> None:
    key = signing.read_signing_key(NEUMANN_SECRET)
    assert "AYEKFAL" not in repr(key)
