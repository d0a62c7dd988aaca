"""`joulegate report create`: the same period under another pack and with the range of embodied carbon."""

from __future__ import annotations

import json
from pathlib import Path

from tests.api.running import Service, priced, record
from tests.plugin.cli.conftest import Command

DAY = ("--from", "2026-11-20", "--to", "2026-11-21", "--format", "json")


def test_another_pack_and_embodied_carbon_stand_beside_and_change_no_total(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    priced(api)
    body = record()
    body["run"]["site"] = "default"
    assert api.post("/v1/records", body).status_code == 201
    plain = joulegate("report", "create", *DAY, "--out", str(tmp_path / "plain"), "--json").json
    asked = ("--against", "ember-countries-2023", "--life-years", "5")
    beside = joulegate("report", "create", *DAY, *asked, "--out", str(tmp_path / "beside"), "--json").json
    before, after = (json.loads(Path(made[0]["file"]).read_text()) for made in (plain, beside))
    assert after["totals"] == before["totals"]
    (row,) = after["under_pack"]
    assert row["in_force_ug"] == before["totals"][0]["carbon_location_ug"]
    assert 0 < int(row["under_pack_ug"]) < int(row["in_force_ug"]), "381 against 400 g/kWh"
    assert len(after["embodied"][0]["sources"]) == 2
    assert "embodied" not in before


def test_a_pack_that_is_not_there_is_an_error(joulegate: Command, api: Service, tmp_path: Path) -> None:
    priced(api)
    done = joulegate("report", "create", *DAY, "--against", "world", "--out", str(tmp_path))
    assert (done.code, "there is no pack 'world'" in done.err) == (1, True)
