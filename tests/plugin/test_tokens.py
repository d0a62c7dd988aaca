"""Rows of tokens: what is written is read back, and a bad line is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.tokens import EVERYTHING, Grant, Role, TokenRow, format_row, hash_of, new_token, read_rows

names = st.text("abcXYZ09", min_size=1, max_size=12)
grants = st.just(EVERYTHING) | st.builds(Grant, names, st.none() | names, st.none() | names)
rows = st.builds(
    TokenRow,
    st.integers().map(lambda n: hash_of(str(n))),
    names,
    st.frozensets(st.sampled_from(Role), min_size=1),
    st.lists(grants, min_size=1, max_size=4).map(tuple),
)


@given(st.lists(rows, max_size=4, unique_by=lambda row: row.token_hash))
def test_rows_are_read_back_as_they_were_written(written: list[TokenRow]) -> None:
    text = "# token_hash principal roles grants\n\n" + "".join(format_row(row) + "\n" for row in written)
    assert read_rows(text, "tokens") == tuple(written)


def test_a_token_is_long_random_and_not_in_its_row() -> None:
    token = new_token()
    assert len(token) > 40
    assert token != new_token()
    assert token not in format_row(TokenRow(hash_of(token), "a", frozenset({Role.ADMIN}), (EVERYTHING,)))


GOOD = hash_of("x")


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        f"{GOOD} alice reader",
        f"{GOOD} alice king *",
        f"{GOOD} al\x07ice reader *",
        f"{GOOD} alice reader a//b",
        f"{GOOD} alice reader ,",
        "sha256:00 alice reader *",
        f"{GOOD} alice reader * more",
    ],
)
def test_a_line_that_is_no_row_is_named(line: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^tokens:2: "):
        read_rows(f"# first\n{line}\n", "tokens")


def test_one_token_is_one_principal() -> None:
    with pytest.raises(InvalidInputError, match="two rows"):
        read_rows(f"{GOOD} alice reader *\n{GOOD} bob admin *\n", "tokens")
