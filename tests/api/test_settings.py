"""Settings: from the environment only, checked together, listed with their meaning."""

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate.home import home
from joulegate_api.settings import Settings, Unbudgeted, listed, load, without_password


def test_without_a_variable_the_embedded_default_is_in_force() -> None:
    settings = load()
    assert settings.host == "127.0.0.1"
    assert settings.home == home()
    assert settings.database_url == f"sqlite:///{home() / 'joulegate.db'}"
    assert settings.tokens_path == home() / "tokens"
    assert settings.unbudgeted is Unbudgeted.ALLOW
    assert settings.default_duration_ns == 4 * 3_600 * 10**9


def test_variables_set_fields_and_options_go_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGATE_PORT", "1234")
    monkeypatch.setenv("JOULEGATE_CONTROLLERS", "a, b,")
    monkeypatch.setenv("JOULEGATE_REPLAY", "of another program")
    settings = load({"port": None})
    assert (settings.port, settings.controllers) == (1234, ("a", "b"))
    assert load({"port": 0}).port == 0


def test_every_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PORT": "high",
        "DEFAULT_DURATION": "soon",
        "UNBUDGETED": "Perhaps",
        "TENANT": "Not A Name",
        "CONCURRENCY": "0",
    }.items():
        monkeypatch.setenv(f"JOULEGATE_{name}", value)
    with pytest.raises(InvalidInputError) as raised:
        load()
    for name in ("PORT", "DEFAULT_DURATION", "UNBUDGETED", "TENANT", "CONCURRENCY"):
        assert f"JOULEGATE_{name}: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


def test_every_setting_is_listed_with_its_meaning_and_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGATE_DATABASE", "postgresql://me:hidden@db/joulegate")
    rows = {variable: (value, meaning) for variable, value, meaning in listed()}
    assert set(rows) == {f"JOULEGATE_{name.upper()}" for name in Settings.model_fields}
    assert all(meaning for _, meaning in rows.values())
    assert rows["JOULEGATE_DATABASE"][0] == "postgresql://me:***@db/joulegate"
    assert "hidden" not in str(rows)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("postgresql:///db", "postgresql:///db"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("postgresql://me:a:b@c@db/x", "postgresql://me:***@db/x"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
