"""`joulegate doctor` and `config` say what is here, why not, and never a secret."""

import pytest

from tests.plugin.cli.conftest import Command


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
