"""Facts on their way from the work to the runner."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.facts import MOST, Facts, QualityFact, WorkFact, append, gathered, is_inside_a_run, read

names = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=253)
works = st.builds(
    WorkFact,
    names,
    names.map(lambda name: name[:64]),
    st.integers(0, 10**15),
    st.integers(1, 10**9),
    st.integers(0, 10**15),
    st.integers(10**15 + 1, 10**16),
)
qualities = st.builds(
    QualityFact,
    names,
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(0, 10**12),
    st.booleans(),
)


@given(st.lists(works), st.lists(qualities))
def test_what_is_appended_is_read_back(work: list[WorkFact], quality: list[QualityFact]) -> None:
    with gathered() as file:
        assert file
        for done in work:
            append(file, done)
        for good in quality:
            append(file, good)
        assert read(file) == Facts(tuple(work), tuple(quality), 0)
    assert not file.exists()


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "3",
        '{"fact": "work"}',
        '{"fact": "wish", "name": "x"}',
        '{"fact": "quality", "name": "x", "value": NaN}',
        '{"fact": "quality", "name": "x", "value": "1"}',
        '{"fact": "quality", "name": "x", "value": true}',
        '{"fact": "quality", "name": "", "value": 1}',
        '{"fact": "quality", "name": "x", "value": 1, "n": -1}',
        '{"fact": "quality", "name": "x", "value": 1, "extra": 1}',
        '{"fact": "work", "name": "x", "unit": "u", "amount": 1.5, "repeats": 1, "start_ns": 1, "end_ns": 2}',
        '{"fact": "work", "name": "x", "unit": "u", "amount": 1, "repeats": 0, "start_ns": 1, "end_ns": 2}',
        '{"fact": "work", "name": "x", "unit": "u", "amount": 1, "repeats": 1, "start_ns": 2, "end_ns": 2}',
        '{"fact": "work", "name": "a\\u0000b", "unit": "u", "amount": 1, "repeats": 1, "start_ns": 1, "end_ns": 2}',
        "[" * 100_000,
        "\xff\xfe",
    ],
)
def test_a_line_that_makes_no_sense_is_counted_and_the_next_is_read(tmp_path: Path, line: str) -> None:
    file = tmp_path / "facts"
    good = {"fact": "quality", "name": "accuracy", "value": 1}
    file.write_text(f"{line}\n{json.dumps(good)}\n", encoding="latin-1")
    assert read(file) == Facts((), (QualityFact("accuracy", 1.0),), 1)


def test_more_facts_than_a_record_takes_are_counted(tmp_path: Path) -> None:
    many: list[WorkFact | QualityFact] = [QualityFact("accuracy", 1.0)] * (MOST + 3)
    assert len(Facts.of(many).quality) == MOST
    assert Facts.of(many).left_out == 3
    assert read(tmp_path / "gone").left_out == 1


def test_a_process_is_inside_a_run_while_the_runners_file_is_there(tmp_path: Path) -> None:
    file = tmp_path / "facts"
    environment = {"JOULEGATE_RUN_ID": "r", "JOULEGATE_FACTS_FILE": str(file)}
    assert not is_inside_a_run(environment)
    file.touch()
    assert is_inside_a_run(environment)
    assert is_inside_a_run({"JOULEGATE_RUN_ID": "r", "JOULEGATE_FACTS_FILE": ""})
    assert not is_inside_a_run({"JOULEGATE_FACTS_FILE": str(file)})
    assert not is_inside_a_run({})


def test_a_fact_does_not_make_the_file_of_a_runner_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        append(tmp_path / "gone", QualityFact("accuracy", 1.0))
    assert list(tmp_path.iterdir()) == []
