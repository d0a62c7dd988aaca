"""`joulegate claims` recomputes a table, or names the line that cannot be read."""

from pathlib import Path

from tests.plugin.cli.conftest import Command

PUBLISHED = Path(__file__).parents[1] / "core" / "published" / "claims.csv"


def test_claims_reproduces_the_published_figures(joulegate: Command) -> None:
    rows = joulegate("claims", str(PUBLISHED), "--json").json
    assert len(rows) == 12
    assert {row["verdict"] for row in rows} == {"consistent"}
    assert set(rows[0]) == {
        "name",
        "recomputed_kwh",
        "recomputed_kg",
        "ratio_energy",
        "ratio_mass",
        "verdict",
        "reason",
    }


def test_claims_reads_stdin_and_names_the_line_of_a_fault(joulegate: Command) -> None:
    done = joulegate("claims", "-", stdin="name,watts\nx,abc\n")
    assert (done.code, done.out) == (1, "")
    assert done.err == "joulegate: stdin:2: watts 'abc' is not a decimal number\n"
