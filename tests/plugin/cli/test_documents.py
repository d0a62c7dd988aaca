"""Files of people are read as JSON values; whatever else they hold is named with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.cli.documents import MOST_VALUES, Document, parse_documents, read_documents, read_text
from joulegate.core.errors import InvalidInputError


def parse(text: str) -> list[Document]:
    return list(parse_documents(text, "f.yaml"))


def only(text: str) -> object:
    (document,) = parse(text)
    return document.value


def refusal(text: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        parse(text)
    return str(caught.value)


def test_values_are_those_of_json_and_a_date_stays_text() -> None:
    value = only("a: 1\nb: [1, 2.5, true, no, 2026-01-01, ~, 0x1F, 017]\nc: {d: 'x'}\n")
    assert value == {"a": 1, "b": [1, 2.5, True, False, "2026-01-01", None, 31, 15], "c": {"d": "x"}}


def test_json_is_yaml_too() -> None:
    assert only('{"a": [1, {"b": "c\\/d"}], "e": null}') == {"a": [1, {"b": "c/d"}], "e": None}


def test_every_document_that_is_not_empty_is_read_with_the_lines_of_its_fields() -> None:
    first, second = parse("a: 1\n---\n# nothing\n---\nspec:\n  limits:\n    energyKwh: '5'\n  list: [1,\n    2]\n")
    assert first.value == {"a": 1}
    assert second.place("spec.limits.energyKwh") == "f.yaml:7"
    assert second.place("spec.limits.carbonKg") == "f.yaml:6"
    assert second.place("spec.list[1]") == "f.yaml:9"
    assert second.place(None) == "f.yaml:5"


def test_what_is_merged_in_never_wins_over_what_is_written() -> None:
    assert only("a: &x {p: 1, q: 1}\nb: {<<: *x, q: 2}") == {"a": {"p": 1, "q": 1}, "b": {"p": 1, "q": 2}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' stands twice"),
        ("x:\n  a: {b: 1, b: 2}\n", "f.yaml:2: the key 'b' stands twice"),
        ("a: [1\n", "f.yaml:2: is not YAML"),
        ("\ta: 1\n", "f.yaml:1: is not YAML"),
        ("a: \x07\n", "f.yaml:1: is not YAML"),
        ("a: *nowhere\n", "f.yaml:1: is not YAML"),
        ("a: &a [*a]\n", "f.yaml:1: an alias holds itself"),
        ("on: 1\n", "f.yaml:1: the key 'on' is not text"),
        ("? [a]\n: 1\n", "is not text"),
        ("a: 12:30\n", "f.yaml:1: '12:30' can be read in more than one way"),
        ("a: .nan\n", "f.yaml:1: '.nan'"),
        ("a: 1.5e+999\n", "is not a finite number"),
        ("a: !!python/object/apply:os.system [id]\n", "f.yaml:1: the type"),
        ("a: !!python/name:os.system x\n", "is not allowed"),
        ("a: !!binary aGk=\n", "is not allowed"),
        ("a: " + "[" * 80 + "]" * 80, "f.yaml:1: is nested deeper than 64"),
        ("[" * 1_500, "is nested deeper than 64"),
        ("a: {<<: [1]}\n", "f.yaml:1: only an object can be merged"),
    ],
)
def test_what_is_not_plain_is_named_with_its_line(text: str, words: str) -> None:
    assert words in refusal(text)


def test_aliases_that_would_unfold_to_a_billion_values_are_counted_and_never_unfolded() -> None:
    rows = ["a: &a [" + ",".join("1" * 10) + "]"]
    rows += [f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(9)]
    assert f"unfolds to more than {MOST_VALUES:,} values" in refusal("\n".join(rows))


def test_a_file_that_is_missing_binary_or_too_large_is_named(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary", tmp_path / "large"
    binary.write_bytes(b"a: 1\nb: \xff\xfe")
    large.write_bytes(b"#" * (2 * 2**20 + 1))
    for path, words in ((tmp_path / "no", "cannot be read: No such file"), (large, "is larger than 2 MiB")):
        with pytest.raises(InvalidInputError, match=words):
            read_text(str(path))
    with pytest.raises(InvalidInputError, match="binary:2: is not text in UTF-8"):
        read_documents(str(binary))
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_text(str(tmp_path))


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        parse(text)
    except InvalidInputError as error:
        place = error.field
    else:
        place = "f.yaml"
    assert place is not None
    assert place.startswith("f.yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_what_was_written_as_yaml_is_read_back(value: object) -> None:
    import yaml  # noqa: PLC0415 -- the writer is only needed here

    read = parse(yaml.safe_dump(value, allow_unicode=False))
    assert [document.value for document in read] == ([] if value is None else [value])
