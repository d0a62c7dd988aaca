"""Whatever goes wrong is one line on stderr and an exit code; help is quick."""

import subprocess
import sys
from pathlib import Path

import pytest

from joulegate.core.errors import JoulegateError
from tests.plugin.cli.conftest import Command

PROGRAM = "import sys; from joulegate.cli import main; sys.exit(main())"
TABLE = "name,energy_kwh,claimed_kwh,tolerance_percent\n" + "x,1,1,0\n" * 20_000


SERVICE = ("up", "serve")
FILES = ("meter", "claims")
REMOTE = ("records", "compare", "budget", "admit", "predict", "factors", "prices", "sites", "report")


INTERRUPT = """
import os, signal, sys, threading, time
def once_it_reads():
    while "joulegate.cli.documents" not in sys.modules:
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=once_it_reads, daemon=True).start()
"""


def start(*words: str, prelude: str = "", **more: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return] # varied
        [sys.executable, "-c", prelude + PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("meter",),
        ("claims", "--nothing", "x"),
        ("budget", "apply"),
        ("records", "list", "--limit", "0"),
        ("claims", "x", "-o", "xml"),
        ("claims", "x", "--json", "-o", "csv"),
        ("meter", "x", "--start-ms", "soon"),
        ("report", "create", "--from", "1 May", "--to", "2026-05-02", "--out", "x"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(joulegate: Command, words: tuple[str, ...]) -> None:
    done = joulegate(*words)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("joulegate: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("budget", "list"),
        ("records", "list"),
        ("compare", "a", "b"),
        ("factors", "list"),
        ("report", "create", "--from", "2026-11-01", "--to", "2026-12-01", "--out", "x"),
    ],
)
def test_without_an_api_one_line_says_how_to_start_one(joulegate: Command, words: tuple[str, ...]) -> None:
    done = joulegate(*words)
    assert (done.code, done.out) == (1, "")
    assert "start one with `joulegate up`" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_an_api_that_does_not_answer_is_one_line(joulegate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGATE_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("JOULEGATE_TOKEN", "x")
    done = joulegate("budget", "list")
    assert done.code == 1
    assert done.err.startswith("joulegate: no answer from http://127.0.0.1:9")
    assert done.err.count("\n") == 1


def test_what_a_message_quotes_cannot_act_on_the_terminal(joulegate: Command, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("name,watts\nx,\x1b[31m\n")
    done = joulegate("claims", str(table))
    assert done.code == 1
    assert "\x1b" not in done.err


def test_version_is_told(joulegate: Command) -> None:
    done = joulegate("--version")
    assert (done.code, done.out.split()[0]) == (0, "joulegate")


def test_help_names_every_command(joulegate: Command) -> None:
    out = joulegate("--help").out
    for name in (*SERVICE, *FILES, *REMOTE, "token", "doctor", "config"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize("missing", ["typer", "rich", "yaml"])
def test_without_the_extra_one_line_names_it(missing: str) -> None:
    process = start("--help", prelude=f"import sys; sys.modules[{missing!r}] = None; ")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    assert err == f"joulegate: the command needs the extra cli ({missing} is missing): pip install 'joulegate[cli]'\n"


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(TABLE)
    with start("claims", str(table)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141


def test_an_interrupt_ends_quietly() -> None:
    with start("claims", "-", prelude=INTERRUPT, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        code = process.wait(timeout=30)
        assert (code, process.stderr.read()) == (130, "")


def test_a_domain_error_keeps_to_one_line(joulegate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise JoulegateError("first\nsecond")

    monkeypatch.setattr("joulegate.cli.findings.accelerators", fails)
    done = joulegate("doctor")
    assert (done.code, done.err) == (1, "joulegate: first second\n")


def test_help_imports_nothing_that_only_a_command_needs() -> None:
    later = {"rich", "yaml", "joulegate.client", "joulegate.core.audit", "fastapi", "sqlalchemy"}
    program = "import sys; from joulegate.cli.program import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert not later & set(done.stdout.splitlines()[-1].split())
    assert "joulegate.cli.program" in done.stdout
