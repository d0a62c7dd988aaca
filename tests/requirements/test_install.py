"""The maker of environments: it reaches packages the way pip does, and old interpreters are told."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[2] / "requirements" / "install.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("install", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings(program: ModuleType, pip_config: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    """What uv is told beyond what holds always."""
    told: dict[str, str] = program.uv_settings(environment or {}, pip_config)
    assert told.pop("UV_PYTHON_DOWNLOADS") == "never"
    return told


def test_uv_is_told_the_index_and_the_certificates_of_pip(program: ModuleType) -> None:
    config = "global.index-url='https://a.example/simple'\nglobal.cert='/etc/ca.pem'\n"
    assert settings(program, config) == {
        "UV_DEFAULT_INDEX": "https://a.example/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
    }


def test_the_environment_of_pip_wins_over_its_files(program: ModuleType) -> None:
    config = ":env:.index-url='https://b.example'\nglobal.index-url='https://a.example'\n"
    assert settings(program, config) == {"UV_DEFAULT_INDEX": "https://b.example"}


def test_what_uv_was_told_by_the_user_stays(program: ModuleType) -> None:
    config = "global.cert='/etc/ca.pem'\n"
    assert settings(program, config, {"SSL_CERT_FILE": "/mine.pem"}) == {}


def test_a_folder_of_wheels_that_is_not_there_is_left_out(program: ModuleType, tmp_path: Path) -> None:
    config = f":env:.find-links='{tmp_path} {tmp_path}/absent https://a.example/wheels'\n"
    assert settings(program, config) == {"UV_FIND_LINKS": f"{tmp_path},https://a.example/wheels"}


def test_no_settings_of_pip_are_no_settings_of_uv(program: ModuleType) -> None:
    assert settings(program, "") == {}


def test_pip_without_an_index_is_uv_without_an_index(program: ModuleType) -> None:
    assert settings(program, "global.no-index='true'\n") == {"UV_NO_INDEX": "1"}


@pytest.mark.parametrize("answer", ["exit 127", "exit 1"], ids=["is missing", "is too old"])
def test_an_interpreter_that_will_not_do_is_refused_in_one_line(tmp_path: Path, answer: str) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{answer}\n")
    interpreter.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={interpreter}"],
        cwd=PROGRAM.parents[1],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"setup: {interpreter} is not Python 3.11 or newer" in done.stderr.splitlines()[0]
