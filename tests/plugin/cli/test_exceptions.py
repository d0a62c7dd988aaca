"""`joulegate exception` asks for more room as one person and approves it as another."""

from pathlib import Path

import pytest

from tests.api.running import Service, budget, token_of
from tests.plugin.cli.conftest import Command

ASK = ("exception", "request", "-b", "vision", "-n", "vision", "--reason", "a deadline")
MORE = (*ASK, "--energy-kwh", "5", "--expires", "7d", "--name", "more")


def test_an_exception_is_asked_for_listed_and_approved(
    joulegate: Command, api: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put("/v1/budgets/vision", budget())
    asked = joulegate(*MORE)
    assert (asked.code, "vision.more" in asked.out) == (0, True)
    assert "joulegate exception approve vision.more" in asked.err
    own = joulegate("exception", "approve", "vision.more")
    assert (own.code, own.err.count("\n")) == (1, 1)
    assert "cannot approve" in own.err
    monkeypatch.setenv("JOULEGATE_TOKEN", token_of("approver"))
    approved = joulegate("exception", "approve", "vision.more", "--json").json
    assert approved[0]["status"]["state"] == "approved"
    (row,) = joulegate("exception", "list", "--state", "approved", "-b", "vision", "--json").json
    assert row["spec"]["approvedBy"] == "approver"
    assert joulegate("exception", "list", "--state", "requested").err == "there is no such exception\n"
    told = joulegate("budget", "show", "vision").out
    assert "15 kWh = base 10 kWh + exceptions 5 kWh" in told
    assert "vision.more, for namespace vision, until" in told
    assert "gives 5 kWh; used: nothing" in told


def test_an_exception_is_asked_for_as_an_object(joulegate: Command, api: Service, tmp_path: Path) -> None:
    api.put("/v1/budgets/vision", budget())
    file = tmp_path / "e.yaml"
    text = (
        "apiVersion: joulegate.io/v1alpha1\nkind: BudgetException\nmetadata: {name: more, namespace: vision}\n"
        'spec:\n  budgets: [vision]\n  amount: {energyKwh: "1"}\n  reason: why\n  expiresAt: "2199-01-01T00:00:00Z"\n'
    )
    file.write_text(text)
    assert joulegate("exception", "request", "-f", str(file)).code == 0
    file.write_text(text.replace('"1"', "1"))
    wrong = joulegate("exception", "request", "-f", str(file))
    assert (wrong.code, ":6: spec.amount.energyKwh: " in wrong.err) == (1, True)
    assert joulegate("exception", "request", "-f", str(file), "--reason", "x").code == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*ASK, "--expires", "7d"), 2, "an amount is required"),
        ((*ASK, "--energy-kwh", "5"), 2, "--expires is required"),
        ((*ASK, "--energy-kwh", "-5", "--expires", "7d"), 1, "--energy-kwh: "),
        ((*ASK, "--cost", "50", "--expires", "7d"), 1, "needs its currency"),
        ((*ASK, "--energy-kwh", "5", "--expires", "soon"), 1, "--expires: "),
        ((*ASK, "--energy-kwh", "5", "--expires", "2020-01-01T00:00:00Z"), 1, "spec.expiresAt: lies in the past"),
        ((*ASK[:2], "-b", "nobody", *ASK[4:], "--energy-kwh", "5", "--expires", "7d"), 1, "no open budget nobody"),
        (("exception", "list", "--state", "gone"), 2, "is not one of"),
        (("exception", "approve", "nobody"), 1, "404"),
        (("exception", "approve"), 2, "ID"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    joulegate: Command, api: Service, words: tuple[str, ...], code: int, said: str
) -> None:
    api.put("/v1/budgets/vision", budget())
    done = joulegate(*words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err
