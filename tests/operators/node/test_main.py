"""How the node meter is started: its help, and one line that says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from joulegate_operators.node import settings
from joulegate_operators.node.main import main
from joulegate_operators.node.settings import SHARED, VARIABLES, Settings
from tests.operators.node.doubles import Api, Cluster, Kubelet, kubeconfig, pod_object


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("JOULEGATE_")]:
        monkeypatch.delenv(name)


def test_the_help_names_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(name in told for name, _, _ in (*VARIABLES, *SHARED))


def test_a_wrong_argument_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--interval", "5"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --interval 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "JOULEGATE_NODE: is not set: the name of this node (spec.nodeName)"),
        (
            {"JOULEGATE_METER_INTERVAL_MS": "1s"},
            "JOULEGATE_METER_INTERVAL_MS: '1s' is not a whole number between 20 and 10000",
        ),
        (
            {"JOULEGATE_METER_PORT": "70000"},
            "JOULEGATE_METER_PORT: '70000' is not a whole number between 0 and 65535",
        ),
        ({"JOULEGATE_REPLAY": "no_such"}, "no_such"),
        ({"JOULEGATE_REPLAY": "a100_square", "JOULEGATE_KUBECONFIG": "/nowhere"}, "no way to the cluster"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_it(
    values: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ({"JOULEGATE_NODE": "node-1"} | values if values else {}).items():
        monkeypatch.setenv(name, value)
    assert main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith("joulegate-node: ")
    assert line in told
    assert told.count("\n") == 1


def test_the_defaults_are_those_that_are_listed() -> None:
    found = Settings.from_environment({"JOULEGATE_NODE": "node-1"})
    assert found == Settings(node="node-1", environment={"JOULEGATE_NODE": "node-1"})
    assert {name for name, _, _ in settings.listed()} == {name for name, _, _ in VARIABLES}


@pytest.mark.slow
def test_without_its_token_the_meter_measures_waits_and_says_why(tmp_path: Path) -> None:
    kubelet, cluster, api = Kubelet(), Cluster(), Api()
    token = tmp_path / "token"
    cluster.put(pod_object("uid-a", "train-0"))
    with kubelet.serving(tmp_path / "kubelet.sock"), cluster.serving() as address, api.serving() as joulegate:
        environment = {
            **os.environ,
            "JOULEGATE_NODE": "node-1",
            "JOULEGATE_REPLAY": "a100_square",
            "JOULEGATE_KUBECONFIG": str(kubeconfig(tmp_path, address)),
            "JOULEGATE_KUBELET_SOCKET": str(tmp_path / "kubelet.sock"),
            "JOULEGATE_METER_FOLDER": str(tmp_path / "state"),
            "JOULEGATE_METER_PORT": "0",
            "JOULEGATE_ADDRESS": joulegate,
            "JOULEGATE_TOKEN_FILE": str(token),
        }
        command = [sys.executable, "-W", "error", "-m", "joulegate_operators.node.main"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = json.loads(process.stderr.readline())
        assert said == {
            "event": "windows wait",
            "reason": f"the file {token} of JOULEGATE_TOKEN_FILE does not exist",
        }
        token.write_text("secret\n")
        token.chmod(0o600)
        assert json.loads(process.stderr.readline()) == {"event": "windows are sent again"}
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert api.tokens == {"Bearer secret"}
    assert api.rows()
