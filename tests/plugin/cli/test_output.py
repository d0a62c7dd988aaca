"""Every form of -o holds the same, and nothing in it acts on a terminal or a spreadsheet."""

import csv
import io
import json
from pathlib import Path

import yaml

from joulegate_api.reports import FORMATS
from tests.api.running import Service, priced, record
from tests.plugin.cli.conftest import Command

PUBLISHED = Path(__file__).parents[1] / "core" / "published" / "claims.csv"


def test_every_form_holds_the_same_rows(joulegate: Command) -> None:
    words = ("claims", str(PUBLISHED))
    as_json = joulegate(*words, "-o", "json").json
    assert yaml.safe_load(joulegate(*words, "-o", "yaml").out) == as_json
    rows = list(csv.DictReader(io.StringIO(joulegate(*words, "-o", "csv").out)))
    assert [row["recomputed_kwh"] for row in rows] == [row["recomputed_kwh"] for row in as_json]
    table = joulegate(*words).out.splitlines()
    assert len(table) == 13
    assert table[0].split()[0] == "name"


def test_a_table_of_somebody_else_cannot_act_on_the_terminal_or_the_spreadsheet(joulegate: Command) -> None:
    text = 'name,energy_kwh\n"=1+1",1\n"\x1b]0;x\x07",1\n'
    assert "\x1b" not in joulegate("claims", "-", stdin=text).out
    assert "'=1+1" in joulegate("claims", "-", "-o", "csv", stdin=text).out


def test_a_report_is_written_in_every_format_that_is_asked_for(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    priced(api)
    api.post("/v1/records", record("r1"))
    words = ("report", "create", "--from", "2026-11-01", "--to", "2026-12-01", "--out", str(tmp_path / "out"))
    rows = joulegate(*words, "--json").json
    assert {row["format"] for row in rows} == set(FORMATS)
    assert {Path(row["file"]).name.removeprefix("report-2026-11-01-to-2026-12-01.") for row in rows} >= {
        "pdf",
        "cdx.json",
        "huggingface.yaml",
    }
    assert all(row["recomputed"] and row["records"] == 1 for row in rows)
    document = json.loads((tmp_path / "out" / "report-2026-11-01-to-2026-12-01.json").read_text())
    assert document["totals"][0]["energy_mj"] == "60000000"
    only = joulegate(*words, "--format", "csv", "--scope", "vision", "--json").json
    assert [Path(row["file"]).name for row in only] == ["report-2026-11-01-to-2026-12-01-vision.csv"]
    of_model = joulegate(*words, "--format", "spdx", "--scope", "model:other", "--json").json
    assert of_model[0]["records"] == 0
    assert Path(of_model[0]["file"]).name == "report-2026-11-01-to-2026-12-01-model-other.spdx.json"
    assert joulegate(*words, "--format", "pdf-of-tomorrow").code == 2
