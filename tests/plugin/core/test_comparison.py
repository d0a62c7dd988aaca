"""Variants are compared exactly, and what cannot be told apart is not called better."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.comparison import Finding, Variant, compare, pareto_front, variant_of, wilson, window_footprint
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import QUARTER
from joulegate.core.records import Quality, Source, WorkDone
from joulegate.core.units import Energy
from tests.plugin.core.audited import NO_RATES, NOON, RATES, record, window

IN_FORCE = {NOON - QUARTER: RATES, NOON: RATES, NOON + QUARTER: RATES}


def variant(name: str, mj: int | None, accuracy: float, device: str = "GPU-1") -> Variant:
    quality = (Quality("accuracy", accuracy, 400),)
    return variant_of(record(name, [10_000], device=device, work=(window(mj, 1_000),), quality=quality), IN_FORCE)


def test_figures_are_exact_fractions_for_the_units_of_work_asked_for() -> None:
    work = window(1_000_003, 397, repeats=9)
    found = variant_of(record("a", [1], work=(work,), quality=(Quality("accuracy", 0.5),)), IN_FORCE, per=1_000)
    assert found.energy_mj == Fraction(1_000_003 * 1_000, 397 * 9)
    assert found.energy_span is not None
    assert found.energy_span.lower < found.energy_mj < found.energy_span.upper


def test_a_window_is_priced_in_each_quarter_hour_that_it_touches() -> None:
    cheap = replace(RATES, price=None, location=replace(RATES.location, ug_per_kwh=0) if RATES.location else None)
    work = replace(window(3_600, 10), start=NOON - timedelta(seconds=30), end=NOON + timedelta(seconds=30))
    half = RATES.apply(Energy(1_800), 0).carbon_location
    assert half is not None
    assert window_footprint(work, {NOON - QUARTER: cheap, NOON: RATES}, 1).carbon_location == half
    assert window_footprint(work, {NOON - QUARTER: cheap, NOON: RATES}, 1).cost is None
    assert window_footprint(work, {NOON: RATES}, 1).carbon_location is None


def test_what_has_no_rate_is_unknown_and_not_zero() -> None:
    found = variant_of(record("a", [1], work=(window(5, 1),), quality=(Quality("accuracy", 1.0),)), {NOON: NO_RATES})
    assert found.carbon_ug is None
    assert found.cost_micros is None
    assert found.energy_mj == 5_000


def test_a_dearer_variant_is_said_to_be_dearer() -> None:
    found = compare([variant("original", 1_000, 0.99), variant("quantised", 20_700, 0.987)])
    quantised = found.differences[1]
    assert quantised.finding is Finding.DEARER
    assert quantised.words.startswith("dearer on this hardware: 20.7 times the energy of original")
    assert "accuracy lower by 0.003" in quantised.words


def test_the_gain_of_one_board_cancels_and_that_of_two_does_not() -> None:
    same = compare([variant("a", 1_000, 0.9), variant("b", 900, 0.9)])
    other = compare([variant("a", 1_000, 0.9), variant("b", 900, 0.9, device="GPU-2")])
    assert same.differences[1].finding is Finding.CHEAPER
    assert other.differences[1].finding is Finding.NOT_TOLD_APART
    narrow, wide = same.differences[1].ratio_span, other.differences[1].ratio_span
    assert narrow is not None
    assert wide is not None
    assert wide.lower < narrow.lower < Fraction(9, 10) < narrow.upper < wide.upper


def test_energy_that_was_not_measured_is_named_and_neither_beats_nor_is_beaten() -> None:
    found = compare([variant("a", 1_000, 0.9), variant("b", None, 0.99)])
    assert found.front == ("a",)
    assert found.differences[1].finding is Finding.NOT_COMPARABLE
    assert any("not measured for b" in warning for warning in found.warnings)


def test_replayed_power_and_different_boards_are_said() -> None:
    replayed = replace(variant("a", 10, 0.9), source=Source.REPLAYED)
    other = replace(variant("b", 10, 0.9), board_models=("NVIDIA H100",))
    warnings = " ".join(compare([replayed, other]).warnings)
    assert "replayed from a recording" in warnings
    assert "different sources: nvml, replayed" in warnings
    assert "different boards" in warnings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "tokens"}, "different units of work"),
        ({"quality": Quality("loss", 0.1, None, higher_is_better=False)}, "different figures of merit"),
        ({"boundaries": ()}, "different boundaries"),
        ({"name": "a"}, "stands twice"),
    ],
)
def test_what_does_not_stand_for_the_same_thing_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        compare([variant("a", 10, 0.9), replace(variant("b", 10, 0.9), **change)])  # type: ignore[arg-type] # varied


@pytest.mark.parametrize(
    ("work", "quality", "named", "words"),
    [
        ((), (Quality("accuracy", 1.0),), None, "no measured window of work"),
        ((window(1, 1),), (), None, "no quality"),
        ((window(1, 0),), (Quality("accuracy", 1.0),), None, "did no work"),
        ((window(1, 1),), (Quality("a", 1.0), Quality("b", 1.0)), None, "more than one quality.*a, b; name one"),
        ((window(1, 1),), (Quality("a", 1.0),), "b", "no quality in the record of x called 'b'"),
    ],
)
def test_a_record_that_cannot_be_compared_says_what_it_lacks(
    work: tuple[WorkDone, ...], quality: tuple[Quality, ...], named: str | None, words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        variant_of(record("x", [1], work=work, quality=quality), IN_FORCE, quality=named)


def test_only_a_share_of_samples_has_wilsons_interval() -> None:
    span = wilson(Quality("accuracy", 0.5, 100))
    assert span is not None
    assert (float(span.lower), float(span.upper)) == pytest.approx((0.4038, 0.5962), abs=1e-3)
    assert wilson(Quality("loss", 0.5, 100)) is None
    assert wilson(Quality("accuracy", 0.5)) is None
    edge = wilson(Quality("accuracy", 1.0, 10))
    assert edge is not None
    assert edge.upper == 1


merits = st.integers(0, 20).map(lambda share: share / 20)
energies = st.integers(1, 20)


@given(st.lists(st.tuples(energies, merits), min_size=1, max_size=8))
def test_the_front_is_what_nothing_beats(rows: list[tuple[int, float]]) -> None:
    variants = [variant(f"v{index}", mj, merit) for index, (mj, merit) in enumerate(rows)]
    front = pareto_front(variants)
    assert front
    for one, (mj, merit) in zip(variants, rows, strict=True):
        beaten = any((e <= mj and m >= merit) and (e, m) != (mj, merit) for e, m in rows)
        assert (one.name in front) is not beaten


@given(energies, energies)
def test_a_ratio_and_its_inverse_agree(a: int, b: int) -> None:
    there = compare([variant("a", a * 1_000, 0.5), variant("b", b * 1_000, 0.5)]).differences[1]
    back = compare([variant("b", b * 1_000, 0.5), variant("a", a * 1_000, 0.5)]).differences[1]
    assert there.ratio is not None
    assert back.ratio is not None
    assert there.ratio * back.ratio == 1
