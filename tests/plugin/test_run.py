"""The runner: the command runs as it would by itself, and one record says what it drew."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from joulegate.run import main
from joulegate.spool import Spool
from tests.plugin.api_double import Api

RUN = (sys.executable, "-m", "joulegate.run")
REPLAY = {"JOULEGATE_REPLAY": "a100_square"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOULEGATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(
    *words: str, environment: dict[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **(environment or {})}
    return subprocess.run([*RUN, *words], env=variables, input=stdin, check=False, capture_output=True, text=True)


def kept(home: Path) -> list[dict[str, Any]]:
    spool = Spool(home / "spool")
    return [json.loads((spool.folder / f"{name}.json").read_text()) for name in spool.waiting()]


def the_record(home: Path) -> dict[str, Any]:
    (record,) = kept(home)
    return record


@pytest.mark.parametrize("code", [0, 3, *(pytest.param(more, marks=pytest.mark.slow) for more in (1, 127, 255))])
def test_the_exit_code_is_the_commands_own(home: Path, code: int) -> None:
    assert run("--", "sh", "-c", f"exit {code}").returncode == code
    assert the_record(home)["outcome"] == ("succeeded" if code == 0 else "failed")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        signal.SIGTERM,
        *(pytest.param(more, marks=pytest.mark.slow) for more in (signal.SIGSEGV, signal.SIGUSR1)),
    ],
)
def test_a_command_that_a_signal_killed_ends_the_runner_the_same_way(home: Path, number: signal.Signals) -> None:
    """So that a shell, which adds 128, says what it would say of the command."""
    script = f"{' '.join(RUN)} -- sh -c 'kill -{int(number)} $$'; echo $?"
    done = subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == str(128 + number)
    assert the_record(home)["outcome"] == "failed"


def test_streams_are_the_commands_own(home: Path) -> None:
    done = run("--", "sh", "-c", "cat; echo err >&2", stdin="through\n")
    assert done.stdout == "through\n"
    said = done.stderr.splitlines()
    assert said[0] == "err"
    assert len(said) == 2
    assert home.exists()


def test_without_a_gpu_it_says_not_measured_and_the_record_has_no_figure(home: Path) -> None:
    done = run("--", "true", environment={"CUDA_VISIBLE_DEVICES": ""})
    record = the_record(home)
    assert "not measured" in done.stderr
    assert done.returncode == 0
    assert record["devices"] == []
    assert record["host"]["energy_mj"] is None or int(record["host"]["energy_mj"]) > 0


@pytest.mark.usefixtures("no_gpu")
def test_a_replay_is_called_so_wherever_the_figure_is_shown(home: Path) -> None:
    done = run("--name", "train", "--", "sleep", "0.3", environment=REPLAY)
    record = the_record(home)
    (device,) = record["devices"]
    (interval,) = device["intervals"]
    assert "replayed" in done.stderr
    assert (record["source"], interval["method"]) == ("replayed", "replayed")
    assert "replayed" in interval["flags"]
    assert "replayed" in device["model"]
    assert int(interval["energy_mj"]) > 0


def test_a_trace_file_is_played_when_it_is_named(home: Path, tmp_path: Path) -> None:
    trace = tmp_path / "load.csv"
    rows = [f"{t},{300_000 if t // 100 % 2 else 60_000}" for t in range(0, 2_000, 10)]
    trace.write_text("t_ms,power_mw\n" + "\n".join(rows) + "\n")
    assert run("--trace", str(trace), "--", "sleep", "0.3").returncode == 0
    assert the_record(home)["devices"][0]["model"] == "load.csv (replayed)"


def test_a_trace_file_that_cannot_be_played_stops_before_the_command_runs(home: Path, tmp_path: Path) -> None:
    done = run("--trace", str(tmp_path / "none.csv"), "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 2
    assert "none.csv" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert kept(home) == []


@pytest.mark.usefixtures("no_gpu")
def test_an_unknown_replay_leaves_the_step_alone_and_says_why(home: Path) -> None:
    done = run("--", "true", environment={"JOULEGATE_REPLAY": "no_such_recording"})
    assert done.returncode == 0
    assert "no_such_recording" in done.stderr
    assert the_record(home)["devices"] == []


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_a_command_that_never_started_is_a_failed_record_and_not_zero(home: Path, command: str, code: int) -> None:
    done = run("--kind", "training", "--", command, environment=REPLAY)
    record = the_record(home)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert (record["outcome"], record["kind"], record["devices"]) == ("failed", "training", [])


@pytest.mark.parametrize(
    "words", [[], ["--"], ["true"], ["--kind", "baking", "--", "true"], ["--nome", "x", "--", "true"]]
)
def test_a_wrong_command_line_is_a_usage_error(
    home: Path, words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: joulegate-run" in capsys.readouterr().err
    assert kept(home) == []


def test_a_second_separator_belongs_to_the_command(home: Path) -> None:
    assert run("--", "echo", "--", "--kind").stdout == "-- --kind\n"
    assert the_record(home)["run"]["step"] == "echo"


def test_a_signal_sent_to_the_runner_reaches_the_command_once(home: Path) -> None:
    names = ["USR1", "USR2", "TERM", "INT", "HUP", "QUIT"]
    traps = "; ".join(f"trap 'echo {name}' {name}" for name in names[:-1])
    script = f"{traps}; trap 'echo QUIT; exit 5' QUIT; echo ready; while :; do sleep 0.02; done"
    with subprocess.Popen([*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        for name in names:
            process.send_signal(getattr(signal, f"SIG{name}"))
            assert process.stdout.readline() == f"{name}\n"
        assert process.stdout.read() == ""
    assert process.returncode == 5
    assert the_record(home)["outcome"] == "cancelled"


def test_a_signal_that_does_not_ask_to_end_leaves_the_outcome_to_the_command(home: Path) -> None:
    script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.02; done"
    with subprocess.Popen([*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
    assert process.returncode == 5
    assert the_record(home)["outcome"] == "failed"


def test_a_command_that_is_terminated_is_cancelled_and_still_recorded(home: Path) -> None:
    with subprocess.Popen([*RUN, "--", "sh", "-c", "echo ready; exec sleep 30"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.terminate()
    assert process.returncode == -signal.SIGTERM
    assert the_record(home)["outcome"] == "cancelled"


def test_ctrl_c_at_a_terminal_reaches_the_command_once(home: Path) -> None:
    script = "trap 'n=$((n+1))' INT; n=0; echo ready; sleep 0.2; sleep 0.1; exit $((10+n))"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*RUN, "--", "sh", "-c", script])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 11
    assert the_record(home)["outcome"] == "cancelled"


def test_the_command_starts_with_signals_as_the_runner_found_them(home: Path) -> None:
    show = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    by_itself = subprocess.run(["/bin/sh", "-c", show], check=True, capture_output=True, text=True).stdout
    assert signals_in(run("--", "sh", "-c", show).stdout) == signals_in(by_itself)
    assert home.exists()


def signals_in(status: str) -> list[int]:
    """The masks, without signals 32 and 33, which glibc keeps for itself and sets when it starts a process."""
    return [int(line.split()[1], 16) & ~(0b11 << 31) for line in status.splitlines()]


@pytest.mark.slow
def test_a_runner_whose_children_are_ignored_still_sees_the_commands_end(home: Path) -> None:
    ignore = (
        "import signal, os, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", ignore, *RUN, "--", "sh", "-c", "exit 4"], check=False, timeout=30)
    assert done.returncode == 4
    assert the_record(home)["outcome"] == "failed"


def test_children_that_outlive_the_command_do_not_hold_it_up(home: Path) -> None:
    begun = time.monotonic()
    subprocess.run([*RUN, "--", "sh", "-c", "sleep 15 & exit 0"], check=True)
    assert time.monotonic() - begun < 10
    assert the_record(home)["outcome"] == "succeeded"


def test_a_run_inside_a_run_is_not_counted_twice_and_hands_its_facts_up(home: Path) -> None:
    inner = "import joulegate\nwith joulegate.work('fit', samples=3) as w: sum(range(10**5))"
    done = run("--name", "outer", "--", *RUN, "--name", "inner", "--", sys.executable, "-c", inner, environment=REPLAY)
    record = the_record(home)
    assert done.returncode == 0, done.stderr
    assert record["run"]["step"] == "outer"
    assert [(work["name"], work["unit"], work["amount"]) for work in record["work"]] == [("fit", "samples", 3)]


@pytest.mark.slow
def test_a_run_inside_a_run_keeps_its_exit_codes(home: Path) -> None:
    assert run("--", *RUN, "--", "sh", "-c", "exit 9").returncode == 9
    assert run("--", *RUN, "--", "no-such-command").returncode == 127
    assert run("--", *RUN, "--", "sh", "-c", "kill -9 $$").returncode == -signal.SIGKILL
    assert len(kept(home)) == 3


def test_an_environment_left_over_from_a_run_that_ended_does_not_stop_the_measuring(home: Path, tmp_path: Path) -> None:
    left = {"JOULEGATE_RUN_ID": "gone", "JOULEGATE_FACTS_FILE": str(tmp_path / "gone.jsonl"), **REPLAY}
    run("--", "sleep", "0.2", environment=left)
    assert len(the_record(home)["devices"]) >= 1


def test_work_lies_inside_the_step_and_draws_less(home: Path) -> None:
    program = "import joulegate, time\ntime.sleep(.2)\n"
    program += "with joulegate.work('nap', naps=1) as w:\n  time.sleep(.3)\n  w.quality(rest=.5)"
    run("--", sys.executable, "-c", program, environment=REPLAY)
    record = the_record(home)
    (work,) = record["work"]
    step = int(record["devices"][0]["intervals"][0]["energy_mj"])
    assert record["started_at"] < work["start"] < work["end"] < record["ended_at"]
    assert 0 < int(work["energy_mj"]) < step
    assert record["quality"] == [{"name": "rest", "value": 0.5, "n": None, "higher_is_better": True}]


def test_facts_that_make_no_sense_are_left_out_and_said(home: Path) -> None:
    done = run("--", "sh", "-c", 'echo nonsense >> "$JOULEGATE_FACTS_FILE"')
    assert "1 facts left out" in done.stderr
    assert the_record(home)["work"] == []


def test_facts_do_not_stay_behind(home: Path, tmp_path: Path) -> None:
    run("--", "true", environment={"TMPDIR": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert home.exists()


def test_without_a_folder_for_facts_the_command_runs_all_the_same(home: Path, tmp_path: Path) -> None:
    program = "import joulegate\nwith joulegate.work('x') as w: pass"
    nowhere = {"TMPDIR": str(tmp_path / "none")}
    broken = "import tempfile, sys, runpy; tempfile.tempdir = '/nowhere'; sys.argv = ['run', *sys.argv[1:]]; "
    broken += "runpy.run_module('joulegate.run', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", broken, "--", sys.executable, "-c", program],
        env={**os.environ, **nowhere},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "not recorded" in done.stderr
    assert len(kept(home)) == 1


def test_the_record_reaches_the_api_when_it_is_there(home: Path, api: Api) -> None:
    done = run("--", "true", environment={"JOULEGATE_ADDRESS": api.address, "JOULEGATE_TOKEN": "t0ken"})
    assert " sent" in done.stderr
    assert kept(home) == []
    assert len(api.records()) == 1
    assert api.seen[0][2] == "Bearer t0ken"


def test_where_the_api_lets_nobody_in_the_code_is_kept_and_the_record_waits(home: Path, api: Api) -> None:
    api.will(401, {"code": "unauthenticated", "detail": "no such token"})
    done = run("--", "sh", "-c", "exit 6", environment={"JOULEGATE_ADDRESS": api.address})
    assert done.returncode == 6
    assert "waits in" in done.stderr
    assert the_record(home)["outcome"] == "failed"


@pytest.mark.slow
def test_with_the_api_away_the_code_is_kept_and_the_next_run_delivers_once(home: Path, api: Api) -> None:
    begun = time.monotonic()
    away = run("--", "sh", "-c", "exit 6", environment={"JOULEGATE_ADDRESS": "http://127.0.0.1:9"})
    assert time.monotonic() - begun < 8
    assert away.returncode == 6
    assert len(away.stderr.splitlines()) == 1
    assert "waits in" in away.stderr
    waited = the_record(home)["record_id"]
    back = run("--", "true", environment={"JOULEGATE_ADDRESS": api.address})
    assert "and 1 that had waited" in back.stderr
    run("--", "true", environment={"JOULEGATE_ADDRESS": api.address})
    assert api.records().count(waited) == 1
    assert len(api.records()) == 3
    assert kept(home) == []


@pytest.mark.slow
def test_a_record_that_can_neither_be_kept_nor_sent_is_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    away = {"JOULEGATE_HOME": str(tmp_path / "file/below"), "JOULEGATE_ADDRESS": "http://127.0.0.1:9"}
    done = run("--", "true", environment=away)
    assert done.returncode == 0
    assert json.loads(done.stderr[done.stderr.index("{") :])["outcome"] == "succeeded"


def test_a_closed_stderr_does_not_change_the_exit_code(home: Path) -> None:
    assert subprocess.run(["/bin/sh", "-c", f"{' '.join(RUN)} -- sh -c 'exit 8' 2>&-"], check=False).returncode == 8
    assert len(kept(home)) == 1


def test_pipeline_and_task_come_from_what_kfp_hands_the_step(home: Path) -> None:
    executor = {"outputs": {"outputFile": "/out/digits-2026-11-23-20-53-09-742920/train/executor_output.json"}}
    run("--model", "mlp", "--variant", "sparse", "--", "echo", "--executor_input", json.dumps(executor))
    record = the_record(home)
    assert (record["run"]["pipeline"], record["run"]["step"]) == ("digits", "train")
    assert record["run"]["uid"] == "digits-2026-11-23-20-53-09-742920.train"
    assert (record["model"], record["variant"]) == ("mlp", "sparse")
