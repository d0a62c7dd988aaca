"""`joulegate factors packs|import-pack|regions`: published tables, imported by choice, stale ones named."""

from __future__ import annotations

from datetime import datetime

import pytest

from joulegate.cli.factors import warn_of_stale
from joulegate.packs import pack_named
from joulegate.wire import to_json
from tests.api.running import Service
from tests.plugin.cli.conftest import Command


def test_a_pack_is_listed_with_its_licence_and_imported_by_zone(joulegate: Command, api: Service) -> None:
    assert api.store.rates.book().intensities == (), "nothing is in force by itself"
    assert "Apache-2.0" in joulegate("factors", "packs").out
    done = joulegate("factors", "import-pack", "google-cloud-regions-2025", "--zone", "europe-west3", "--json")
    assert done.json == {"added": 1, "repeated": 0}
    (row,) = api.store.rates.book().intensities
    assert (row.zone, row.ug_per_kwh, row.reference.licence) == ("europe-west3", 275_810_000, "Apache-2.0")
    assert row.reference.attribution
    assert row.reference.sha256


def test_a_whole_pack_goes_in_one_request(joulegate: Command, api: Service) -> None:
    assert joulegate("factors", "import-pack", "google-cloud-regions-2024", "--json").json["added"] == 44
    assert len(api.store.rates.book().intensities) == 44


def test_what_no_pack_has_is_an_error_and_nothing_stands_in(joulegate: Command, api: Service) -> None:
    wrong = joulegate("factors", "import-pack", "google-cloud-regions-2025", "--zone", "DE", "--zone", "europe-west3")
    assert (wrong.code, "has no zone 'DE'" in wrong.err) == (1, True)
    assert joulegate("factors", "import-pack", "world").code == 1
    assert api.store.rates.book().intensities == ()


@pytest.mark.parametrize(("today", "is_stale"), [("2025-12-31", False), ("2026-11-24", True), ("2027-06-01", False)])
def test_a_stale_factor_is_warned_of_while_it_is_in_force(
    capsys: pytest.CaptureFixture[str], today: str, is_stale: bool
) -> None:
    rows = [to_json(row) for row in pack_named("ember-countries-2023").intensities()]
    warn_of_stale(rows, datetime.fromisoformat(f"{today}T00:00:00+00:00"))
    assert ("more than 24 months ago" in capsys.readouterr().err) == is_stale


def test_regions_tell_their_zone_and_which_pack_knows_it(joulegate: Command) -> None:
    rows = {row["region"]: row for row in joulegate("factors", "regions", "--provider", "aws", "--json").json}
    assert rows["eu-central-1"]["zone"] == "DE"
    assert rows["eu-central-1"]["packs"] == ["ember-countries-2023"]
    assert rows["me-south-1"]["packs"] == [], "no other zone stands in"


def test_embodied_figures_are_listed_with_who_says_so(joulegate: Command) -> None:
    told = joulegate("factors", "embodied")
    assert "127.6" in told.out
    assert "arXiv:2509.00093" in told.out
