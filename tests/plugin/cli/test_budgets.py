"""`joulegate budget` applies what is right whole, and names the line of what is wrong."""

from pathlib import Path

import pytest
import yaml

from tests.api.running import Service
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


def test_a_budget_is_applied_listed_shown_and_balanced(joulegate: Command, api: Service, tmp_path: Path) -> None:
    assert api.store.budgets.list() == ()
    file = tmp_path / "b.yaml"
    file.write_text(BUDGET + "---\n" + BUDGET.replace("name: vision", "name: speech"))
    assert joulegate("budget", "apply", "-f", str(file)).code == 0
    assert [row["metadata"]["name"] for row in joulegate("budget", "list", "--json").json] == ["speech", "vision"]
    assert yaml.safe_load(joulegate("budget", "show", "vision", "-o", "yaml").out)["spec"]["limits"] == {
        "energyKwh": "5"
    }
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
