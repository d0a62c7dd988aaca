"""Tables are written so that no spreadsheet runs them, and read back to the same text."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.cells import cell, csv_text, read_table


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\tx", "\rx", "=cmd|' /C calc'!A0", "-", "+"])
def test_text_that_begins_a_formula_is_kept_as_text(text: str) -> None:
    assert cell(text).lstrip('"').startswith("'")


@pytest.mark.parametrize(("value", "text"), [(-5, "-5"), ("-1.5", "-1.5"), (None, ""), (True, "true"), (0, "0")])
def test_numbers_keep_their_sign_and_nothing_is_empty(value: object, text: str) -> None:
    assert cell(value) == text


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(names, names), max_size=5))
def test_what_was_written_is_read_back_but_for_the_apostrophe(rows: list[tuple[str, str]]) -> None:
    text = csv_text(("a", "b"), rows)
    read = list(csv.reader(text.splitlines(keepends=True), strict=True))[1:]
    assert [[part.removeprefix("'") for part in row] for row in read] == [
        [part.removeprefix("'") for part in row] for row in rows
    ]
    assert not any(part[0] in "=+-@\t\r" and not part.lstrip("-").isdecimal() for row in read for part in row)


def test_a_row_is_read_with_its_place_and_every_wanted_column() -> None:
    lines = ["# c\n", "a,x\n", '"1\n', '2",z\n', "3,4\n"]
    found = list(read_table(lines, "t.csv", ("a", "b"), "a"))
    assert found == [("t.csv:3", {"a": "1\n2", "b": ""}), ("t.csv:5", {"a": "3", "b": ""})]
