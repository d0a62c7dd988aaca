"""Which run this is: from KFP's own words, a pod's environment, or nothing at all."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.records import Run
from joulegate.identity import as_id, as_line, run_of

CLUSTER_OUTPUT = "/tmp/kfp_outputs/output_metadata.json"
NOWHERE = Path("/nonexistent/namespace")
RUN_UUID = "6a1f0f3e-6e0b-4a57-9f5e-0d6d9a0c7b11"
EXECUTION = "f1b2c3d4-0000-4000-8000-000000000001"


def identify(
    command: list[str],
    environment: dict[str, str] | None = None,
    name: str | None = None,
    namespace_file: Path = NOWHERE,
) -> Run:
    return run_of(command, environment or {}, fresh_uid="fresh", name=name, namespace_file=namespace_file)


def step(output_file: str, *uris: str) -> list[str]:
    artifacts = {f"a{n}": {"artifacts": [{"uri": uri}]} for n, uri in enumerate(uris)}
    outputs = {"outputFile": output_file, "artifacts": artifacts}
    return ["sh", "-ec", "python3", "--executor_input", json.dumps({"inputs": {}, "outputs": outputs})]


def test_a_local_step_has_pipeline_task_and_the_runs_time() -> None:
    run = identify(step("/out/digits-2026-11-23-20-53-09-742920/train/executor_output.json"))
    assert run == Run("digits-2026-11-23-20-53-09-742920.train", "digits", "train")


def test_iterations_of_a_loop_are_different_runs_of_one_step() -> None:
    runs = [
        identify(step(f"/out/p-2026-11-23-20-53-09-742920/for-loop-2-iteration-{n}/fit/executor_output.json"))
        for n in (0, 1)
    ]
    assert [run.step for run in runs] == ["fit", "fit"]
    assert [run.uid.split(".")[1] for run in runs] == ["for-loop-2-iteration-0", "for-loop-2-iteration-1"]


def test_a_folder_above_that_is_named_by_a_uuid_does_not_mislead() -> None:
    run = identify(step(f"/{RUN_UUID}/x/digits-2026-11-23-20-53-09-742920/train/executor_output.json"))
    assert run.pipeline == "digits"


def test_a_step_in_a_cluster_is_known_by_its_artifacts() -> None:
    uri = f"minio://mlpipeline/v2/artifacts/digits/{RUN_UUID}/train/{EXECUTION}/model"
    run = identify(step(CLUSTER_OUTPUT, uri), {"KFP_POD_UID": "pod-1", "KFP_RETRY_INDEX": "2"})
    assert run == Run(f"{RUN_UUID}.train.{EXECUTION}", "digits", "train", attempt=3, pod_uid="pod-1")


def test_a_step_without_artifacts_is_known_by_its_pod_and_workflow() -> None:
    environment = {"ARGO_POD_UID": "pod-1", "ARGO_WORKFLOW_NAME": "digits-x7k2p"}
    run = identify(step(CLUSTER_OUTPUT), environment)
    assert (run.uid, run.pipeline, run.pod_uid) == ("pod-1", "digits-x7k2p", "pod-1")


def test_a_plain_command_is_known_by_its_own_name_or_the_one_given() -> None:
    assert identify(["/usr/bin/python3", "train.py"]) == Run("fresh", None, "python3")
    assert identify(["/usr/bin/python3", "train.py"], name="fit").step == "fit"


def test_the_namespace_is_the_pods_own(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("vision\n")
    assert identify(["x"], namespace_file=file).namespace == "vision"
    assert identify(["x"], {"JOULEGATE_NAMESPACE": "other"}, namespace_file=file).namespace == "other"


@pytest.mark.parametrize(
    "words", ["{", "[]", '{"outputs": 1}', '{"outputs": {"artifacts": 3}}', '{"outputs": {"outputFile": 7}}', ""]
)
def test_an_executor_input_of_another_form_is_no_error(words: str) -> None:
    assert identify(["x", "--executor_input", words]).uid == "fresh"
    assert identify(["x", f"--executor_input={words}"]).uid == "fresh"
    assert identify(["x", "--executor_input"]).uid == "fresh"


@given(st.text(min_size=1, max_size=400))
def test_any_text_becomes_an_id_that_goes_into_an_address(text: str) -> None:
    made = as_id(text)
    assert 1 <= len(made) <= 128
    assert made.isascii()
    assert made[0].isalnum()
    assert not set(made) & set("/?#% \n")


@given(st.text(max_size=400))
def test_any_text_becomes_one_line_or_nothing(text: str) -> None:
    made = as_line(text)
    assert made is None or (1 <= len(made) <= 253 and made.isprintable())
