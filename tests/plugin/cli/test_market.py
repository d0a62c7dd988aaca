"""`joulegate instruments import|used`: certificates from CSV, and carbon in columns for people."""

from __future__ import annotations

from pathlib import Path

from tests.api.running import Service, priced, record
from tests.plugin.cli.conftest import Command

DAY = ("--from", "2026-11-20T00:00:00Z", "--to", "2026-11-21T00:00:00Z")
FILE = (
    "kind,name,zone,valid_from,valid_to,kwh,g_per_kwh,evidence,dataset,version,publisher,licence,source\n"
    "certificate,GO-1,DE,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,{},0,statement 7,registry,1,us,internal,file 3\n"
)


def test_instruments_come_from_csv_and_what_they_cover_is_told(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    priced(api)
    body = record()
    body["run"]["site"] = "default"
    assert api.post("/v1/records", body).status_code == 201
    before = joulegate("instruments", "used", *DAY, "--life-years", "5").out
    assert "no residual mix is known" in before
    assert "never added to the above" in before
    file = tmp_path / "i.csv"
    file.write_text(FILE.format("12.5"))
    assert joulegate("instruments", "import", str(file), "--json").json == {"added": 1, "repeated": 0}
    (known,) = api.store.rates.instruments()
    assert known.energy_mj == 12_500 * 3_600_000
    assert "12.5" in joulegate("instruments", "list").out
    used = joulegate("instruments", "used", *DAY, "--json").json
    assert used["market"]["unknown_mj"] == "0"
    file.write_text(FILE.format("some"))
    wrong = joulegate("instruments", "import", str(file))
    assert (wrong.code, f"{file}:2: kwh: 'some'" in wrong.err) == (1, True)
