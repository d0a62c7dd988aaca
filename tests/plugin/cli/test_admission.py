"""`joulegate admit` and `predict` decide on a manifest, or say in one line why not."""

import json
from pathlib import Path

import pytest
import yaml

from tests.api.running import Service, job, priced
from tests.plugin.cli.conftest import Command

BUDGET = """\
apiVersion: joulegate.io/v1alpha1
kind: Budget
metadata: {name: vision}
spec:
  scope: {namespaces: [vision]}
  period: {unit: Month}
  limits: {energyKwh: "5"}
"""


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
