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


HEADER = "zone,valid_from,valid_to,g_per_kwh,basis,boundary,mix,signal,gwp,dataset,version,publisher,licence,source"
ROW = "DE,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,{},location,direct,production,average,AR5,d,1,p,CC0,https://x.org"


def test_an_import_is_all_or_nothing_and_names_every_line_at_fault(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    file = tmp_path / "f.csv"
    good, late = ROW.format("1"), ROW.format("3").replace("2027-01-01", "2025-01-01").replace("DE,", "FR,")
    file.write_text("\n".join([HEADER, good, ROW.format("1.2.3"), ROW.format("x")]) + "\n")
    done = joulegate("factors", "import", str(file))
    assert done.code == 1
    assert f"{file}:3: g_per_kwh" in done.err
    assert f"{file}:4: g_per_kwh" in done.err
    assert "2 faults, nothing was imported" in done.err
    file.write_text(f"{HEADER}\n{good}\n{late}\n")
    done = joulegate("factors", "import", str(file))
    assert (done.code, f"{file}:3: valid_to: must be after valid_from" in done.err) == (1, True)
    assert api.store.rates.book().intensities == ()


def test_a_column_that_nobody_knows_is_refused_rather_than_passed_over(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    file = tmp_path / "f.csv"
    file.write_text(f"{HEADER},kg_per_kwh\n{ROW.format('1')},3\n")
    done = joulegate("factors", "import", str(file))
    assert (done.code, f"{file}:1: no column is called 'kg_per_kwh'" in done.err) == (1, True)
    assert api.store.rates.book().intensities == ()


def test_more_rows_than_one_request_holds_are_refused_before_any_is_sent(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    file = tmp_path / "f.csv"
    file.write_text("\n".join([HEADER, *(f"Z{n}{ROW.format('1')}" for n in range(4_000))]) + "\n")
    done = joulegate("factors", "import", str(file))
    assert (done.code, "all or nothing: split it" in done.err) == (1, True)
    assert api.store.rates.book().intensities == ()


def test_prices_by_model_ownership_and_hour_and_sites_with_water_come_from_csv(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    source = "d,1,p,CC0,https://example.org"
    dates = "2026-01-01T00:00:00Z,2027-01-01T00:00:00Z"
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "rule,currency,gpu_model,ownership,from_hour,to_hour,timezone,amount,valid_from,valid_to,"
        "dataset,version,publisher,licence,source\n"
        f"gpu_hours,EUR,H100,cloud_iaas,22,6,Europe/Berlin,1.40,{dates},{source}\n"
        f"gpu_hours,EUR,H100,cloud_iaas,,,,2.10,{dates},{source}\n"
    )
    assert joulegate("prices", "import", str(prices), "--json").json["added"] == 2
    assert "22-6 Europe/Berlin" in joulegate("prices", "list").out
    sites = tmp_path / "sites.csv"
    sites.write_text(
        "name,zone,pue,pue_category,ownership,wue_l_per_kwh,wue_category,valid_from,valid_to,"
        "dataset,version,publisher,licence,source\n"
        f"hall,DE,1.25,2,colo,1.8,1,{dates},{source}\n"
    )
    assert joulegate("sites", "import", str(sites), "--json").json["added"] == 1
    (site,) = api.store.rates.book().sites
    assert (site.iso_category, site.ownership, site.wue_ul_per_kwh) == (2, "colo", 1_800_000)
    (wrong,) = [line for line in prices.read_text().splitlines() if "22,6" in line]
    prices.write_text(prices.read_text().splitlines()[0] + "\n" + wrong.replace("22,6", "22,") + "\n")
    done = joulegate("prices", "import", str(prices))
    assert (done.code, f"{prices}:2: from_hour: " in done.err) == (1, True)
