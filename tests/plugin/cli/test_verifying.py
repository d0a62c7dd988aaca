"""`joulegate verify` answers with its exit code: 0 good, 3 not proved, 1 unreadable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulegate import bundles
from joulegate.cli.program import run
from tests.plugin.bundled import Log, lines_of, write_bundle


@pytest.fixture
def made(tmp_path: Path) -> tuple[str, str]:
    """A bundle, and the key of its log."""
    log = Log()
    return str(write_bundle(tmp_path / "bundle", log, lines_of(log, 8))), str(log.key.verifier)


def test_a_good_bundle_is_0_and_says_what_was_checked(
    made: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, key = made
    assert run(["verify", path, "--key", key, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["authenticity"], told["key"]) == ("good", "pinned key", key)
    assert (told["previous"], told["anchor"]) == ("absent", "absent")
    assert all(check["passed"] for check in told["checks"])


def test_without_a_key_it_is_3_and_unproven_unless_the_bundled_one_is_allowed(
    made: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = made
    assert run(["verify", path, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["authenticity"] == "unproven"
    assert run(["verify", path, "--allow-bundled-key"]) == 0
    assert "bundled key" in capsys.readouterr().out


def test_a_changed_bundle_is_3_and_says_what_differs(made: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, key = made
    report = Path(path) / bundles.REPORT
    report.write_bytes(report.read_bytes().replace(b'"energy_mj":"36', b'"energy_mj":"35', 1))
    assert run(["verify", path, "--key", key]) == 3
    assert "FAILED" in capsys.readouterr().out


def test_what_cannot_be_read_is_1(made: tuple[str, str], tmp_path: Path) -> None:
    assert run(["verify", str(tmp_path / "nothing"), "--key", made[1]]) == 1
    assert run(["verify", made[0], "--key", made[1], "--anchor", str(tmp_path / "nothing")]) == 1
    assert run(["verify", made[0], "--key", "no key"]) == 1
