"""Published figures are recomputed exactly, and what cannot be recomputed is not called right."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.claims import (
    COLUMNS,
    KG_PER,
    ClaimCheck,
    ClaimVerdict,
    PublishedClaim,
    check_claim,
    read_claims,
)
from joulegate.core.errors import InvalidInputError

PUBLISHED = Path(__file__).parent / "published" / "claims.csv"
HEADER = ",".join(COLUMNS) + "\n"


def read(text: str) -> list[PublishedClaim]:
    return list(read_claims(text.splitlines(keepends=True), "table.csv"))


def check(row: str) -> ClaimCheck:
    (claim,) = read(HEADER + row)
    return check_claim(claim)


def refusal(text: str | Iterable[str]) -> str:
    with pytest.raises(InvalidInputError) as caught:
        list(read_claims(text.splitlines(keepends=True) if isinstance(text, str) else text, "t.csv"))
    return str(caught.value)


def test_every_published_figure_of_the_golden_table_is_consistent() -> None:
    with PUBLISHED.open(encoding="utf-8", newline="") as lines:
        checks = [check_claim(claim) for claim in read_claims(lines, "claims.csv")]
    assert len(checks) == 12
    assert {found.verdict for found in checks} == {ClaimVerdict.CONSISTENT}
    llama = checks[0].row()
    assert llama["recomputed_kwh"] == "36270.08"
    assert llama["recomputed_kg"] == "13963.9808"
    assert llama["ratio_energy"] == pytest.approx(1.0075, abs=1e-4)


def test_energy_is_taken_before_hours_times_watts_and_pue_counts_in_both() -> None:
    assert check("a,10,7,400,2,,14,,,0").verdict is ClaimVerdict.CONSISTENT
    assert check("a,10,,400,2,,8,,,0").verdict is ClaimVerdict.CONSISTENT
    assert check("a,10,,400,,,4,,,0").verdict is ClaimVerdict.CONSISTENT


@pytest.mark.parametrize(("mass", "unit"), [("1000", "g"), ("1", "kg"), ("0.001", "t")])
def test_mass_is_compared_in_its_own_unit(mass: str, unit: str) -> None:
    assert check(f"a,,2,,,500,,{mass},{unit},0").verdict is ClaimVerdict.CONSISTENT


def test_a_pound_is_exact() -> None:
    found = check("a,,1,,,453.59237,,1,lb,0")
    assert found.verdict is ClaimVerdict.CONSISTENT
    assert found.row()["recomputed_kg"] == "0.45359237"


def test_a_unit_error_of_a_thousand_is_inconsistent_and_said_as_a_factor() -> None:
    found = check("SCI for AI 9.1.3,,130,,,1,,0.13,g,5")
    assert found.verdict is ClaimVerdict.INCONSISTENT
    assert found.row()["ratio_mass"] == 1000.0
    assert "1000 times the claim" in found.reason


def test_one_wrong_figure_makes_the_claim_inconsistent() -> None:
    found = check("a,,1,,,1000,1,3,kg,1")
    assert found.verdict is ClaimVerdict.INCONSISTENT
    assert "energy agrees exactly" in found.reason


@pytest.mark.parametrize(
    ("row", "lack"),
    [
        ("a,,,400,,,4,,,1", "energy_kwh and gpu_hours are blank"),
        ("a,10,,,,,4,,,1", "energy_kwh and watts are blank"),
        ("a,,4,,,,4,2,kg,1", "intensity_g_per_kwh is blank"),
        ("a,,4,,,500,,2,,1", "the unit of claimed_mass is blank"),
        ("a,,4,,,,3.9,,,", "tolerance_percent is blank"),
        ("a,,4,,,500,,,,1", "nothing is claimed"),
    ],
)
def test_what_is_absent_leaves_the_claim_undecidable_and_is_named(row: str, lack: str) -> None:
    found = check(row)
    assert found.verdict is ClaimVerdict.UNDECIDABLE
    assert lack in found.reason


def test_a_claim_of_zero_divides_nothing() -> None:
    found = check("a,,1,,,500,0,0,kg,50")
    assert found.verdict is ClaimVerdict.INCONSISTENT
    assert found.ratio_energy is None
    assert found.ratio_mass is None
    assert check("a,,0,,,500,0,0,kg,0").verdict is ClaimVerdict.CONSISTENT


def test_zero_is_not_blank() -> None:
    assert check("a,10,0,400,,,0,,,0").row()["recomputed_kwh"] == "0"


def test_the_tolerance_is_part_of_the_claim_and_includes_its_edge() -> None:
    assert check("a,,101,,,,100,,,1").verdict is ClaimVerdict.CONSISTENT
    assert check("a,,101.0000000001,,,,100,,,1").verdict is ClaimVerdict.INCONSISTENT
    assert check("a,,99,,,,100,,,1").verdict is ClaimVerdict.CONSISTENT


def test_columns_may_be_missing_reordered_unknown_and_quoted() -> None:
    (claim,) = read('note,claimed_kwh,name,energy_kwh\n"a, b\n# c",4,"Model ""X""",4\n')
    assert claim == PublishedClaim('Model "X"', energy_kwh=Fraction(4), claimed_kwh=Fraction(4))
    assert check_claim(claim).verdict is ClaimVerdict.CONSISTENT


def test_marks_line_ends_comments_and_blank_lines_of_any_editor_are_read() -> None:
    text = '\ufeff# a comment, "with a quote\r\n\r\nname,energy_kwh\r\n  # another\r\nx, 4 \r\n'
    assert read(text) == [PublishedClaim("x", energy_kwh=Fraction(4))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "t.csv:1: holds no table"),
        ("# only this\n", "t.csv:1: holds no table"),
        ("model,energy_kwh\nx,1\n", "t.csv:1: no column is called name"),
        ("name,watts,watts\n", "t.csv:1: the column watts stands twice"),
        ("# c\nname,watts\nx,1\ny,1,2\n", "t.csv:4: 3 fields where the header has 2"),
        ("name,watts\nx\n", "t.csv:2: 1 fields where the header has 2"),
        ("name,watts\n,1\n", "t.csv:2: the row has no name"),
        ("name,watts\nx,4OO\n", "t.csv:2: watts '4OO' is not a decimal number"),
        ("name,watts\nx,nan\n", "t.csv:2: watts 'nan' is not a decimal number"),
        ("name,watts\nx,1_000\n", "t.csv:2: watts '1_000' is not a decimal number"),
        ("name,watts\nx,\u0664\n", "is not a decimal number"),
        ('name,watts\nx,"1,000"\n', "t.csv:2: watts '1,000' is not a decimal number"),
        ("name,watts\nx,-1\n", "t.csv:2: watts -1 is negative"),
        ("name,watts\nx,1e99\n", "t.csv:2: watts 1e99 is out of range"),
        ("name,watts\nx," + "9" * 50 + "\n", "is not a decimal number"),
        ("name,unit\nx,tons\n", "t.csv:2: unit 'tons' is none of g, kg, t, lb"),
        ('name,watts\nx,"1\n2,3\n', "t.csv:2: is not CSV: unexpected end of data"),
        ('name,note,watts\nx,"a\nb",1\ny,,z\n', "t.csv:4: watts 'z' is not a decimal number"),
    ],
)
def test_a_table_that_cannot_be_read_names_file_and_line(text: str, words: str) -> None:
    assert words in refusal(text)


amounts = st.fractions(min_value=0, max_value=10**9, max_denominator=1).map(lambda x: x / 1000)


@given(hours=amounts, watts=amounts, intensity=amounts, unit=st.sampled_from(sorted(KG_PER)))
def test_what_is_recomputed_is_consistent_with_itself_at_no_tolerance(
    hours: Fraction, watts: Fraction, intensity: Fraction, unit: str
) -> None:
    recomputed = check_claim(PublishedClaim("a", hours, None, watts, None, intensity))
    assert recomputed.recomputed_kwh is not None
    assert recomputed.recomputed_kg is not None
    claim = PublishedClaim(
        "a",
        hours,
        None,
        watts,
        None,
        intensity,
        claimed_kwh=recomputed.recomputed_kwh,
        claimed_mass=recomputed.recomputed_kg / KG_PER[unit],
        unit=unit,
        tolerance_percent=Fraction(0),
    )
    assert check_claim(claim).verdict is ClaimVerdict.CONSISTENT


@given(hours=amounts, watts=amounts, pue=amounts)
def test_a_printed_quantity_is_the_exact_product_of_its_inputs(hours: Fraction, watts: Fraction, pue: Fraction) -> None:
    written = check_claim(PublishedClaim("a", hours, None, watts, pue)).row()["recomputed_kwh"]
    assert Fraction(Decimal(str(written))) == hours * watts * pue / 1000
