"""Notes and checkpoints are read strictly and written the one way that they can be."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.checkpoints import Checkpoint, VerifierKey, read_checkpoint, read_key, read_note
from joulegate.core.errors import InvalidInputError

# The example of C2SP signed-note (https://c2sp.org/signed-note), and of the Go project in sumdb/note (BSD-3-Clause).
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint).
SOFA = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)


def test_the_key_of_the_specification_has_the_hash_that_it_says() -> None:
    key = read_key(NEUMANN)
    assert (key.name, key.key_hash.hex(), str(key)) == ("PeterNeumann", "c74f20a3", NEUMANN)


def test_the_note_of_the_specification_is_read_and_written() -> None:
    note = read_note(NOTE)
    assert note.text.endswith("problem is.\n")
    assert [each.name for each in note.signed_by(read_key(NEUMANN))] == ["PeterNeumann"]
    assert str(note) == NOTE


def test_the_checkpoint_of_the_specification_is_read_and_written() -> None:
    note = read_note(SOFA)
    checkpoint = read_checkpoint(note)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root == base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert (str(checkpoint), str(note)) == (note.text, SOFA)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        NOTE.replace("\n\n", "\n"),
        NOTE.removesuffix("\n"),
        NOTE.replace("\u2014 ", "- "),
        NOTE.replace("AM=", "AN="),  # other bits after the last byte
        NOTE.replace("PeterNeumann ", "Peter+Neumann "),
        NOTE.replace("PeterNeumann ", "PeterNeumann  "),
        NOTE.replace("If", "\x07If"),
        NOTE.replace("\n", "\r\n"),
        "x" * 70_000 + NOTE,
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_note(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20852163", "020852163"),
        ("20852163", "-1"),
        ("20852163", "9" * 30),
        ("20852163", "\u0662"),
        ("q2I=", "q2J="),
        ("CsUYapGG", ""),
        ("example.com/behind-the-sofa\n2", "\n2"),
        ("q2I=\n\n", "q2I=\nextension\n\n"),
    ],
)
def test_what_is_no_checkpoint_is_refused(old: str, new: str) -> None:
    with pytest.raises(InvalidInputError):
        read_checkpoint(read_note(SOFA.replace(old, new, 1)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        NEUMANN.replace("c74f20a3", "c74f20a4"),
        NEUMANN.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN.replace("ARpc", "Ahpc"),
        NEUMANN + "=",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_key(text)


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_survives_its_writing(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("joulegate/x/default", size, root)
    signed = f"{checkpoint}\n\u2014 joulegate/x/default AAAAAAE=\n"
    assert read_checkpoint(read_note(signed)) == checkpoint


@given(st.binary(min_size=32, max_size=32))
def test_a_key_survives_its_writing(public: bytes) -> None:
    key = VerifierKey("joulegate/x/default", public)
    assert read_key(str(key)) == key
