"""Each command does what it says: on a file, or on the real API."""

import csv
import io
import json
import stat
from pathlib import Path

import pytest
import yaml

from joulegate.tokens import hash_of
from tests.api.running import FACTORS, PRICES, SITES, Service, job, priced, record
from tests.plugin.cli.conftest import Command

PUBLISHED = Path(__file__).parents[1] / "core" / "published" / "claims.csv"
TRACE = Path(__file__).parents[3] / "plugin/joulegate/data/a100_square.meter.csv"
BUDGET = """\
apiVersion: joulegate.io/v1alpha1
kind: Budget
metadata: {name: vision}
spec:
  scope: {namespaces: [vision]}
  period: {unit: Month}
  limits: {energyKwh: "5"}
"""


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


def test_meter_gives_one_measurement_with_the_parts_of_its_interval(joulegate: Command) -> None:
    found = joulegate("meter", str(TRACE), "--start-ms", "1000", "--end-ms", "9000", "--json").json
    assert found["duration_ns"] == "8000000000"
    assert int(found["uncertainty"]["lower_mj"]) < int(found["energy_mj"]) < int(found["uncertainty"]["upper_mj"])
    assert {"gain_mj", "duty_mj", "edge_mj", "gap_mj", "confidence"} <= set(found["uncertainty"])
    assert isinstance(found["coverage"], int | float)
    assert "interval" in joulegate("meter", str(TRACE)).out


@pytest.mark.parametrize(
    "words",
    [
        ("--sensor", "nobody"),
        ("--column", "nobody"),
        ("--calibration", "1"),
        ("--start-ms", "9", "--end-ms", "1"),
    ],
)
def test_meter_refuses_what_the_trace_does_not_have(joulegate: Command, words: tuple[str, ...]) -> None:
    done = joulegate("meter", str(TRACE), *words)
    assert done.code == 1
    assert done.err.count("\n") == 1


def test_a_budget_is_applied_listed_shown_and_balanced(joulegate: Command, api: Service, tmp_path: Path) -> None:
    assert api.store.budgets.list() == ()
    file = tmp_path / "b.yaml"
    file.write_text(BUDGET + "---\n" + BUDGET.replace("name: vision", "name: speech"))
    assert joulegate("budget", "apply", "-f", str(file)).code == 0
    assert [row["metadata"]["name"] for row in joulegate("budget", "list", "--json").json] == ["speech", "vision"]
    assert yaml.safe_load(joulegate("budget", "show", "vision").out)["spec"]["limits"] == {"energyKwh": "5"}
    balance = joulegate("budget", "balance", "vision", "--json").json
    assert balance["energy"]["available"] == str(5 * 3_600_000_000)
    assert balance["carbon"]["limit"] is None
    table = joulegate("budget", "balance", "vision").out
    assert "5 kWh" in table
    assert "no limit" in table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BUDGET.replace('"5"', '"-5"'), ":7: spec.limits.energyKwh: "),
        (BUDGET.replace("Month", "Moon"), ":6: spec.period.unit: "),
        (BUDGET + "  colour: red\n", ":8: spec.colour: unknown field"),
        (BUDGET + "  limits: {}\n", ":8: the key 'limits' stands twice"),
        (BUDGET + "---\n- 1\n", ":9: "),
        ("# nothing\n", "holds no object"),
    ],
)
def test_a_budget_that_is_wrong_is_named_by_line_and_nothing_is_sent(
    joulegate: Command, api: Service, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "b.yaml"
    file.write_text(text)
    done = joulegate("budget", "apply", "-f", str(file))
    assert done.code == 1
    assert words in done.err
    assert done.err.count("\n") == 1
    assert api.store.budgets.list() == ()


def test_records_are_imported_once_listed_and_shown(joulegate: Command, api: Service, tmp_path: Path) -> None:
    priced(api)
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(record(name)) + "\n" for name in ("r1", "r2")))
    assert [row["repeat"] for row in joulegate("records", "import", str(file), "--json").json] == [False, False]
    assert "2 were there already" in joulegate("records", "import", str(file)).err
    assert {row["record_id"] for row in joulegate("records", "list", "--json").json} == {"r1", "r2"}
    assert "16.7 Wh" in joulegate("records", "list").out
    assert joulegate("records", "list", "--kind", "inference", "--json").json == []
    assert yaml.safe_load(joulegate("records", "show", "r1").out)["record_id"] == "r1"
    assert yaml.safe_load(joulegate("records", "show", "run-r1").out)["uid"] == "run-r1"
    missing = joulegate("records", "show", "nobody")
    assert missing.code == 1
    assert missing.err.count("\n") == 1


def test_a_record_that_is_refused_is_named_by_its_line(joulegate: Command, api: Service, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps(record("r1")) + "\n" + json.dumps(record("r2", kind="magic")) + "\n")
    done = joulegate("records", "import", str(file))
    assert done.code == 1
    assert f"{file}:2: kind: " in done.err
    assert "1 before it were taken" in done.err
    assert len(api.store.records.list().records) == 1


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


def test_a_manifest_is_admitted_or_refused_with_what_would_have_fitted(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    api.put("/v1/budgets/vision", yaml.safe_load(BUDGET))
    small, large = tmp_path / "small.yaml", tmp_path / "large.json"
    small.write_text(yaml.safe_dump(job(1, "1h", uid=None)))
    large.write_text(json.dumps(job(64, "10h", uid=None)))
    refused = joulegate("admit", "-f", str(large), "--json")
    assert refused.code == 3
    assert refused.json["outcome"] == "deny"
    assert int(refused.json["fits"]) < int(refused.json["asked"])
    assert "would have fitted" in joulegate("admit", "-f", str(large)).out
    before = api.fingerprint()
    assert joulegate("admit", "-f", str(small), "--dry-run").code == 0
    assert joulegate("admit", "-f", str(small), "--dry-run", "--user", "alice").code == 0
    assert api.fingerprint() == before
    allowed = joulegate("admit", "-f", str(small), "--json")
    assert (allowed.code, allowed.json["allowed"]) == (0, True)
    assert allowed.json["hold"]
    assert int(joulegate("budget", "balance", "vision", "--json").json["energy"]["pending"]) > 0


def test_a_manifest_is_predicted_with_its_basis(joulegate: Command, api: Service, tmp_path: Path) -> None:
    priced(api)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job(2, "1h")))
    found = joulegate("predict", "-f", str(file), "--json").json
    assert int(found["energy"]["p50_mj"]) < int(found["energy"]["p90_mj"])
    assert found["basis"] == "prior"
    assert "384 g CO2e" in joulegate("predict", "-f", str(file)).out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\n", ":1: apiVersion: is required"),
        ("- 1\n", "this is no manifest"),
        ("apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n", "holds 2 objects"),
        ("", "holds no object"),
        ("kind: [\n", ":2: is not YAML"),
    ],
)
def test_what_is_no_manifest_is_one_line(joulegate: Command, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    for command in ("admit", "predict"):
        done = joulegate(command, "-f", str(file))
        assert done.code == 1
        assert words in done.err
        assert done.err.count("\n") == 1


def test_variants_are_compared_as_table_json_and_picture(joulegate: Command, api: Service, tmp_path: Path) -> None:
    for name, variant, energy, accuracy in (("r1", "original", 5_000, 0.99), ("r2", "small", 500, 0.98)):
        work = {"name": "predict", "unit": "predictions", "amount": 1_000, "repeats": 1, "energy_mj": str(energy)}
        work |= {"start": "2026-11-20T08:00:00Z", "end": "2026-11-20T08:00:10Z"}
        quality = [{"name": "accuracy", "value": accuracy}]
        assert api.post("/v1/records", record(name, variant=variant, work=[work], quality=quality)).status_code == 201
    picture = tmp_path / "c.svg"
    done = joulegate("compare", "original", "small", "--svg", str(picture))
    assert done.code == 0
    assert "5 J" in done.out
    assert "0.500 J" in done.out or "0.5 J" in done.out
    assert picture.read_text().startswith("<svg ")
    found = joulegate("compare", "original", "small", "--json").json
    assert [row["energy_mj"] for row in found["variants"]] == ["5000", "500"]
    assert "svg" not in found
    assert joulegate("compare", "original", "nobody").code == 1


def test_a_report_is_written_in_every_format_that_is_asked_for(
    joulegate: Command, api: Service, tmp_path: Path
) -> None:
    priced(api)
    api.post("/v1/records", record("r1"))
    words = ("report", "create", "--from", "2026-11-01", "--to", "2026-12-01", "--out", str(tmp_path / "out"))
    rows = joulegate(*words, "--json").json
    assert {row["format"] for row in rows} == {"json", "csv", "html"}
    assert all(row["recomputed"] and row["records"] == 1 for row in rows)
    document = json.loads((tmp_path / "out" / "report-2026-11-01-to-2026-12-01.json").read_text())
    assert document["totals"][0]["energy_mj"] == "60000000"
    only = joulegate(*words, "--format", "csv", "--scope", "vision", "--json").json
    assert [Path(row["file"]).name for row in only] == ["report-2026-11-01-to-2026-12-01-vision.csv"]
    assert joulegate(*words, "--format", "pdf-of-tomorrow").code == 2


def test_tokens_are_added_once_listed_without_themselves_and_revoked(joulegate: Command, tmp_path: Path) -> None:
    file = str(tmp_path / "rows" / "tokens")
    added = joulegate("token", "add", "alice", "-r", "reader", "-r", "member", "-n", "vision", "--file", file, "--json")
    assert added.code == 0
    token = added.json["token"]
    text = Path(file).read_text()
    assert token not in text
    assert hash_of(token) in text
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    assert joulegate("token", "add", "alice", "-r", "reader", "-n", "*", "--file", file).code == 1
    assert joulegate("token", "add", "eve", "-r", "king", "-n", "*", "--file", file).code == 1
    assert joulegate("token", "add", "bob", "-r", "admin", "-n", "*", "--file", file).code == 0
    listed = joulegate("token", "list", "--file", file, "--json").json
    assert [(row["principal"], row["roles"]) for row in listed] == [("alice", ["member", "reader"]), ("bob", ["admin"])]
    assert joulegate("token", "revoke", "alice", "--file", file).code == 0
    assert [row["principal"] for row in joulegate("token", "list", "--file", file, "--json").json] == ["bob"]
    assert joulegate("token", "revoke", "alice", "--file", file).code == 1


def test_comments_of_a_file_of_tokens_are_kept(joulegate: Command, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# who may do what\n\n")
    joulegate("token", "add", "alice", "-r", "reader", "-n", "*", "--file", str(file))
    joulegate("token", "revoke", "alice", "--file", str(file))
    assert file.read_text() == "# who may do what\n"


def test_doctor_says_why_something_cannot_be_measured(joulegate: Command) -> None:
    rows = {row["what"]: row for row in joulegate("doctor", "--json").json}
    assert rows["replay"]["available"] is False
    assert rows["API"]["available"] is False
    assert "joulegate up" in rows["API"]["detail"]
    assert all(row["detail"] for row in rows.values())


def test_config_lists_what_is_set_and_never_the_token(joulegate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGATE_TOKEN", "very secret")
    monkeypatch.setenv("JOULEGATE_PORT", "1234")
    done = joulegate("config", "--json")
    rows = {row["variable"]: row for row in done.json}
    assert "very secret" not in done.out
    assert rows["JOULEGATE_TOKEN"]["set"] is True
    assert (rows["JOULEGATE_PORT"]["value"], rows["JOULEGATE_PORT"]["set"]) == ("1234", True)
    assert all(name.startswith("JOULEGATE_") for name in rows)
