"""`joulegate factors`, `prices` and `sites` import sourced rows once, or name the line."""

from pathlib import Path

import pytest
import yaml

from tests.api.running import FACTORS, PRICES, SITES, Service
from tests.plugin.cli.conftest import Command


@pytest.mark.parametrize(("kind", "body"), [("factors", FACTORS), ("prices", PRICES), ("sites", SITES)])
def test_rates_are_imported_once_and_listed_with_their_source(
    joulegate: Command, api: Service, tmp_path: Path, kind: str, body: dict[str, object]
) -> None:
    assert api.store.rates.book().sites == ()
    file = tmp_path / "rates.yaml"
    file.write_text(yaml.safe_dump(body))
    assert joulegate(kind, "import", str(file), "--json").json == {"added": 1, "repeated": 0}
    assert joulegate(kind, "import", str(file), "--json").json == {"added": 0, "repeated": 1}
    (row,) = joulegate(kind, "list", "--json").json
    assert row["reference"]["licence"] == "CC-BY-4.0"
    assert "CC-BY-4.0" in joulegate(kind, "list").out


def test_factors_are_read_from_csv_in_grams_and_a_fault_has_its_line(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    header = (
        "zone,valid_from,valid_to,g_per_kwh,basis,boundary,mix,signal,gwp,dataset,version,publisher,licence,source\n"
    )
    row = "DE,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,{},location,direct,production,average,AR5,d,1,p,CC0,https://example.org\n"
    file = tmp_path / "f.csv"
    file.write_text("# a comment\n" + header + row.format("363.5"))
    assert joulegate("factors", "import", str(file), "--json").json["added"] == 1
    (known,) = api.store.rates.book().intensities
    assert known.ug_per_kwh == 363_500_000
    for wrong, words in (
        (row.format("many"), f"{file}:2: g_per_kwh: 'many' is not a decimal number"),
        (row.format("1").replace("2026-01-01T00:00:00Z", "soon"), f"{file}:2: valid_from: "),
        (row.format("1").replace(",CC0,", ",,"), f"{file}:2: reference.licence: "),
    ):
        file.write_text(header + wrong)
        done = joulegate("factors", "import", str(file))
        assert done.code == 1
        assert words in done.err
