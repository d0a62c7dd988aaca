"""The factor packs of the wheel: licensed, cited, hashed, and none of them in force by itself."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from importlib.resources import files

import pytest

from joulegate.core.errors import ConflictError, NotFoundError
from joulegate.packs import Pack, pack_named, packs, region_named, regions

SHAREABLE = {"Apache-2.0", "CC-BY-4.0", "OGL-UK-3.0", "CC0-1.0"}


@pytest.mark.parametrize("pack", packs().values(), ids=list(packs()))
def test_a_pack_says_where_it_comes_from_and_may_be_shipped(pack: Pack) -> None:
    told = pack.reference
    assert told.licence in SHAREABLE
    assert told.attribution
    assert told.source.startswith("https://")
    assert told.sha256
    assert len(told.sha256) == 64
    rows = pack.intensities()
    assert len(rows) == pack.rows == len({row.zone for row in rows})
    for row in rows:
        assert row.reference == told
        assert row.valid_from < (row.data_until or row.valid_from) <= row.valid_to
        assert row.signal == "average"
        assert row.boundary in ("direct", "lifecycle")
        assert 0 < row.ug_per_kwh < 1_000_000_000, "between nothing and coal"


def test_published_figures_are_taken_over_to_the_digit() -> None:
    (frankfurt,) = [r for r in pack_named("google-cloud-regions-2025").intensities() if r.zone == "europe-west3"]
    (germany,) = [r for r in pack_named("ember-countries-2023").intensities() if r.zone == "DE"]
    assert frankfurt.ug_per_kwh == 275_810_000
    assert germany.ug_per_kwh == 380_950_000


def test_a_pack_that_was_changed_is_refused() -> None:
    shipped = pack_named("ember-countries-2023")
    other = Pack(shipped.name, shipped.about, shipped.rows, "0" * 64, shipped.reference)
    with pytest.raises(ConflictError, match="was changed after it was released"):
        other.intensities()


def test_old_data_are_called_stale_24_months_after_they_ended() -> None:
    (germany,) = [r for r in pack_named("ember-countries-2023").intensities() if r.zone == "DE"]
    assert not germany.is_stale_at(datetime(2026, 1, 1, tzinfo=UTC))
    assert germany.is_stale_at(datetime(2026, 1, 1, 0, 15, tzinfo=UTC))


def test_no_pack_holds_a_world_average() -> None:
    zones = {row.zone for pack in packs().values() for row in pack.intensities()}
    assert not zones & {"WORLD", "World", "001", "OWID_WRL"}


def test_regions_have_one_zone_each_and_no_stand_in() -> None:
    assert len({(r.provider, r.region) for r in regions()}) == len(regions())
    assert {r.provider for r in regions()} == {"aws", "azure", "gcp"}
    assert region_named("aws", "eu-central-1").zone == "DE"
    assert region_named("azure", "westeurope").zone == "NL"
    assert region_named("gcp", "europe-west3").zone == "europe-west3"
    with pytest.raises(NotFoundError, match="name the grid zone of the site itself"):
        region_named("aws", "moon-north-1")


def test_beside_a_report_a_region_that_a_pack_does_not_know_has_its_countrys_row() -> None:
    countries = pack_named("ember-countries-2023")
    by_zone = {row.zone: row.ug_per_kwh for row in countries.beside()}
    assert by_zone["europe-west3"] == by_zone["DE"] == 380_950_000
    assert "europe-west3" not in {row.zone for row in countries.intensities()}, "which prices nothing"
    assert "me-west1" not in by_zone, "nor does the pack know Israel"
    assert pack_named("google-cloud-regions-2025").beside() == pack_named("google-cloud-regions-2025").intensities()


def test_every_file_of_the_folder_is_listed() -> None:
    folder = files("joulegate").joinpath("data/factors")
    tables = {item.name.removesuffix(".csv") for item in folder.iterdir() if item.name.endswith(".csv")}
    assert tables - {"regions", "embodied"} == set(packs())
    for name in packs():
        assert next(csv.reader([folder.joinpath(f"{name}.csv").read_text().splitlines()[0]]))[0] == "zone"
