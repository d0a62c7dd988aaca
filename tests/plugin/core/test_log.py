"""Entries have one canonical form, and a chain of them shows what was changed."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.log import WHOLE_MAX, Entry, EntryType, canonical, envelope, read_entry
from joulegate.core.merkle import leaf_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-WHOLE_MAX, WHOLE_MAX) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FIRST = Entry("default", EntryType.RECORD, "r-1", "2026-11-23T08:00:00Z", {"energy_mj": "12"}, "w/1", 1, 0, None)


def test_the_example_of_rfc_8785_is_sorted_by_utf_16_code_units() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]  # section 3.2.3
    assert json.loads(canonical(dict.fromkeys(keys, 1))) == dict.fromkeys(keys, 1)
    assert list(json.loads(canonical(dict.fromkeys(keys, 1)))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_strings_are_escaped_as_rfc_8785_says() -> None:
    assert canonical('\u20ac$\x0f\nA\'B"\\\\"/') == b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'
    assert canonical("\b\t\n\f\r\x7f\u2028") == '"\\b\\t\\n\\f\\r\x7f\u2028"'.encode()


@given(VALUES)
def test_what_is_written_canonically_is_read_back_and_written_the_same(value: Any) -> None:
    data = canonical(value)
    assert json.loads(data) == value
    assert canonical(json.loads(data)) == data


@given(st.dictionaries(TEXT, VALUES, min_size=2, max_size=5))
def test_the_order_in_which_keys_are_given_does_not_matter(value: dict[str, Any]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


@pytest.mark.parametrize(
    "value",
    [0.5, float("nan"), WHOLE_MAX + 1, -WHOLE_MAX - 1, {1: "x"}, b"bytes", "\ud800", {"\ud800": 1}, {1, 2}, object()],
)
def test_what_has_more_than_one_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError):
        canonical(value)


def test_nesting_without_end_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidInputError):
        canonical(value)


def test_a_leaf_is_hashed_with_its_prefix() -> None:
    assert leaf_hash(b"") == bytes.fromhex(
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )  # RFC 6962
    assert leaf_hash(b"x") == sha256(b"\x00x").digest()


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_an_entry_is_read_back_from_its_envelope(body: dict[str, Any]) -> None:
    entry = replace(FIRST, body=body)
    assert read_entry(envelope(entry)) == entry


def test_every_single_change_of_an_envelope_changes_its_hash_or_is_refused() -> None:
    data = envelope(FIRST)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert leaf_hash(changed) != leaf_hash(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"a":1}',
        envelope(FIRST) + b" ",
        envelope(FIRST).replace(b'"version":1', b'"version":2'),
        envelope(FIRST).replace(b'{"energy_mj":"12"}', b'"text"'),
        envelope(FIRST).replace(b'"id":"r-1",', b""),
        b"\xff",
    ],
)
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_entry(data)
