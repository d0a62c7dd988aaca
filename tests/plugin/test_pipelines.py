"""Measured components: one command line, compiled and local; nothing cached; exit codes passed on."""

# mypy: disable-error-code="untyped-decorator"
# KFP has no types.

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl, local

from joulegate.core.errors import InvalidInputError
from joulegate.pipelines import from_input, measured
from joulegate.spool import Spool

RUNNER = ["python3", "-m", "joulegate.run"]


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def greet(name: str) -> str:
    """Say who was greeted."""
    import joulegate  # noqa: PLC0415 -- the body is all that runs

    with joulegate.work("greet", greetings=1) as work:
        work.quality(politeness=0.5)
    return f"hello {name}"


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def fail() -> None:
    """End with a code of its own."""
    import sys  # noqa: PLC0415 -- the body is all that runs

    sys.exit(7)


@dsl.component(base_image="python:3.12")
def greet_after_install(name: str) -> str:
    """The same, where KFP is installed by the step."""
    return f"hello {name}"


@dsl.component(base_image="python:3.12", target_image="registry.example/python-step:1")
def greet_from_image(name: str) -> str:
    """The same, built into an image."""
    return f"hello {name}"


@dsl.container_component
def copy(model: dsl.Output[dsl.Model]) -> dsl.ContainerSpec:
    """A step of any language."""
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c", 'cp /weights "$0"'], args=[model.path])


@dsl.container_component
def entrypoint() -> dsl.ContainerSpec:
    """What this runs only its image knows."""
    return dsl.ContainerSpec(image="busybox")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOULEGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JOULEGATE_REPLAY", "a100_square")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "out"))
    return tmp_path / "home"


def kept(home: Path) -> list[dict[str, Any]]:
    spool = Spool(home / "spool")
    return [json.loads((spool.folder / f"{name}.json").read_text()) for name in spool.waiting()]


def compiled(what: Any, folder: Path) -> dict[str, Any]:
    file = folder / "compiled.yaml"
    compiler.Compiler().compile(what, str(file))
    return dict(next(yaml.safe_load_all(file.read_text())))


def command_of(what: Any, folder: Path) -> list[str]:
    (executor,) = compiled(what, folder)["deploymentSpec"]["executors"].values()
    return list(executor["container"]["command"])


def test_the_runner_stands_before_the_step_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    own = command_of(greet, tmp_path)
    command = command_of(measured(greet, kind="training", model="mlp", variant="sparse", name="fit"), tmp_path)
    options = ["--kind", "training", "--name", "fit", "--model", "mlp", "--variant", "sparse", "--"]
    assert command == [*RUNNER, *options, *own]
    assert own[:2] == ["sh", "-ec"]


def test_what_kfp_installs_first_is_not_measured_and_may_be_joulegate_itself(tmp_path: Path) -> None:
    own = command_of(greet_after_install, tmp_path)
    command = command_of(measured(greet_after_install), tmp_path)
    assert "pip install" in own[2]
    assert command == [*own[:3], *RUNNER, "--kind", "other", "--", *own[3:]]
    assert own[3:5] == ["sh", "-ec"]


@pytest.mark.parametrize("component", [copy, greet_from_image], ids=["container", "built image"])
def test_other_components_are_measured_from_their_first_word(component: Any, tmp_path: Path) -> None:
    own = command_of(component, tmp_path)
    assert command_of(measured(component), tmp_path) == [*RUNNER, "--kind", "other", "--", *own]


def test_the_component_itself_is_left_as_it_was(tmp_path: Path) -> None:
    before = command_of(greet, tmp_path)
    measured(greet)
    assert command_of(greet, tmp_path) == before


def test_compiled_and_local_run_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    component = measured(greet, kind="evaluation", variant=from_input("name"))
    started: list[list[str]] = []
    start = subprocess.Popen.__init__

    def watch(self: Any, command: Any, *rest: Any, **more: Any) -> None:
        started.append(list(command))
        start(self, command, *rest, **more)

    monkeypatch.setattr(subprocess.Popen, "__init__", watch)

    @dsl.pipeline(name="greetings")
    def greetings() -> None:
        component(name="ada")

    greetings()
    (ran,) = started
    expected = [word.replace("python3", sys.executable) for word in command_of(component, tmp_path)]
    expected = ["ada" if word == from_input("name") else word for word in expected]
    assert ran[: len(expected)] == expected


def test_no_measured_step_is_cached(tmp_path: Path) -> None:
    component = measured(greet)

    @dsl.pipeline(name="greetings")
    def greetings() -> None:
        component(name="ada")
        greet(name="bea")

    tasks = compiled(greetings, tmp_path)["root"]["dag"]["tasks"]
    assert tasks["greet"]["cachingOptions"] == {}
    assert tasks["greet-2"]["cachingOptions"] == {"enableCache": True}


def test_a_pipeline_leaves_one_record_a_step_with_names_and_facts(home: Path) -> None:
    component = measured(greet, kind="inference", model="words", variant=from_input("name"))

    @dsl.pipeline(name="greetings")
    def greetings() -> None:
        component(name="ada").set_env_variable("LANG", "C")
        with dsl.ParallelFor(["bea", "cy"]) as name:
            component(name=name)

    greetings()
    records = kept(home)
    assert {record["variant"] for record in records} == {"ada", "bea", "cy"}
    assert {record["run"]["pipeline"] for record in records} == {"greetings"}
    assert len({record["run"]["uid"] for record in records}) == 3
    assert all(record["work"][0]["name"] == "greet" for record in records)
    assert all(record["quality"][0]["value"] == 0.5 for record in records)
    assert all((record["kind"], record["model"]) == ("inference", "words") for record in records)


def test_a_step_that_fails_fails_the_pipeline_and_is_a_failed_record(home: Path) -> None:
    component = measured(fail)

    @dsl.pipeline(name="failing")
    def failing() -> None:
        component()

    with pytest.raises(RuntimeError, match="FAILURE"):
        failing()
    (record,) = kept(home)
    assert (record["outcome"], record["run"]["step"]) == ("failed", "fail")


def test_a_decorator_measures_the_same_way(tmp_path: Path) -> None:
    decorated = measured(kind="training")(greet)
    assert command_of(decorated, tmp_path) == command_of(measured(greet, kind="training"), tmp_path)
    assert decorated.execute(name="ada") == "hello ada"


def test_a_component_alone_runs_locally_and_leaves_a_record(home: Path) -> None:
    task = measured(greet)(name="ada")
    assert task.output == "hello ada"
    assert len(kept(home)) == 1


def test_what_cannot_be_put_behind_the_runner_is_refused_when_the_pipeline_is_written() -> None:
    @dsl.pipeline(name="inner")
    def inner() -> None:
        greet(name="ada")

    with pytest.raises(InvalidInputError, match="names no command"):
        measured(entrypoint)
    with pytest.raises(InvalidInputError, match="measure its steps"):
        measured(inner)
    with pytest.raises(InvalidInputError, match="'baking' is not one of training"):
        measured(greet, kind="baking")
