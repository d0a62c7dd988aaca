"""`joulegate report create` with variants, a margin, another pack and a life of boards, into a bundle that is good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulegate.verification import Given, verify
from tests.api.running import Service, priced, record
from tests.plugin.cli.conftest import Command

DAY = ("--from", "2026-11-20", "--to", "2026-11-21")
ASKED = ("--compare", "large", "--compare", "small", "--margin", "0.02")
BESIDE = ("--against", "ember-countries-2023", "--life-years", "5")


def variant(name: str, energy_mj: str, share: float) -> dict[str, Any]:
    uncertain = {"confidence": "0.95", "gain_mj": "1", "duty_mj": "0", "edge_mj": "0", "gap_mj": "0"}
    uncertain |= {"lower_mj": str(int(energy_mj) - 1), "upper_mj": str(int(energy_mj) + 1)}
    body = record(name, model="digits", variant=name)
    body["run"]["site"] = "default"
    body["work"] = [
        {
            "name": "predict",
            "unit": "tokens",
            "amount": 10_000,
            "repeats": 10,
            "start": "2026-11-20T08:01:00Z",
            "end": "2026-11-20T08:02:00Z",
            "energy_mj": energy_mj,
            "uncertainty": uncertain,
        }
    ]
    body["quality"] = [{"name": "accuracy", "value": share, "n": 10_000, "higher_is_better": True}]
    return body


@pytest.fixture
def variants(api: Service) -> Service:
    api.context.keeper.make_key("test")
    priced(api)
    for body in (variant("large", "9000000", 0.91), variant("small", "3000000", 0.905)):
        answer = api.post("/v1/records", body)
        assert answer.status_code == 201, answer.text
    return api


def test_variants_pack_and_life_are_in_the_report_and_verify_recomputes_them(
    joulegate: Command, variants: Service, tmp_path: Path
) -> None:
    asked = [part for name in ("json", "sci", "csv", "html", "bundle") for part in ("--format", name)]
    done = joulegate("report", "create", *DAY, *ASKED, *BESIDE, *asked, "--out", str(tmp_path), "--json")
    assert done.code == 0, done.err
    files = {Path(row["file"]).name.partition(".")[2]: Path(row["file"]) for row in done.json}
    report = json.loads(files["json"].read_text())
    assert [row["name"] for row in report["comparison"]["found"]["variants"]] == ["large", "small"]
    assert report["query"]["comparing"]["margin"] == "1/50"
    assert report["under_pack"][0]["pack"] == "ember-countries-2023"
    assert report["embodied"][0]["high_share_ug"] is not None
    (component,) = json.loads(files["sci.json"].read_text())["components"]
    (score,) = component["scores"]
    assert (score["functional_unit"], score["amount"], score["missing"]) == ("tokens", "200000", None)
    assert float(score["sci_g_per_unit"]["low"]) > float(score["operational_g_per_unit"]) > 0
    page = files["html"].read_text()
    assert "Variants" in page
    assert "Under another factor pack" in page
    verdict = verify(files["bundle.zip"], Given(str(variants.context.keeper.keys()[0].verifier)))
    assert [(check.name, check.faults) for check in verdict.checks if not check.passed] == []
    assert verdict.good


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--margin", "0.02"), "says nothing without variants"),
        (("--compare", "large", "--margin", "two"), "must be a decimal"),
        (("--compare", "large", "--compare", "unheard"), "unheard"),
    ],
)
def test_what_cannot_be_compared_is_an_error_and_no_file(
    joulegate: Command, variants: Service, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    assert variants.context.keeper.keys()
    done = joulegate("report", "create", *DAY, *more, "--format", "json", "--out", str(tmp_path / "out"))
    assert (done.code, said in done.err, "Traceback" in done.err) == (1, True, False), done.err
    assert not list((tmp_path / "out").glob("*"))
