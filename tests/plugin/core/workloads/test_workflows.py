"""Workflows: every step that can be resolved once, whoever wrote it and whoever compiled it."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from joulegate.core.workloads import Unresolved, demand_of
from tests.plugin.core.workloads.manifests import A100, HOUR, World, container, dag, manifest, step, workflow


def test_every_step_that_is_reached_counts_once() -> None:
    templates = [dag("main", "train", "prepare", "more"), step("train", 4), step("prepare", None), step("unused", 64)]
    assert demand_of(workflow(*templates, dag("more", "train"))).accelerators == 8
    serial = {"name": "main", "steps": [[{"name": "a", "template": "train"}], [{"name": "b", "template": "train"}]]}
    assert demand_of(workflow(serial, step("train", 1))).accelerators == 2
    inline = {"name": "main", "dag": {"tasks": [{"name": "a", "inline": {"container": container(2)}}]}}
    assert demand_of(workflow(inline)).accelerators == 2


def test_an_exit_handler_a_script_sidecars_and_sets_of_containers_count() -> None:
    script = {"name": "main", "script": container(1), "sidecars": [container(2)]}
    together = {"name": "last", "containerSet": {"containers": [container(1), container(1)]}}
    assert demand_of(workflow(script, together, onExit="last")).accelerators == 5


def test_a_step_that_is_known_only_when_it_runs_is_growth() -> None:
    later = step("later", "{{inputs.parameters.gpus}}")
    patched = step("patched", 1, podSpecPatch="{{inputs.parameters.pod-spec-patch}}")
    elsewhere = {"name": "main", "steps": [[{"name": "a", "templateRef": {"name": "t", "template": "x"}}]]}
    assert (
        demand_of(workflow(dag("main", "later", "patched", "train"), later, patched, step("train", 1))).accelerators
        == 1
    )
    assert demand_of(workflow(elsewhere)).groups == ()


def test_templates_that_call_each_other_end() -> None:
    assert demand_of(workflow(dag("main", "again", "train"), dag("again", "main"), step("train", 1))).accelerators == 1
    chain = [dag(f"t{n}", f"t{n + 1}", f"t{n + 1}") for n in range(30)]
    with pytest.raises(Unresolved, match="more than 100000 accelerators"):
        demand_of(workflow(*chain, step("t30", 1), entrypoint="t0"))
    deep = [dag(f"t{n}", f"t{n + 1}") for n in range(1_000)]
    with pytest.raises(Unresolved, match="deep"):
        demand_of(workflow(*deep, entrypoint="t0"))


def test_a_workflow_may_wait_and_may_have_a_limit() -> None:
    assert demand_of(workflow(step("main"), suspend=True)).suspended
    assert demand_of(workflow(step("main"), activeDeadlineSeconds=3_600)).deadline_ns == HOUR


def test_the_template_that_it_refers_to_is_looked_up() -> None:
    template = manifest("argoproj.io/v1alpha1", "WorkflowTemplate", workflow(step("main", 3))["spec"])
    referring = manifest("argoproj.io/v1alpha1", "Workflow", {"workflowTemplateRef": {"name": "t"}})
    around = World({("WorkflowTemplate", "vision", "t"): template})
    assert demand_of(referring, around).accelerators == 3
    with pytest.raises(Unresolved, match="WorkflowTemplate t in vision does not exist"):
        demand_of(referring, World())


@pytest.mark.parametrize(
    "broken",
    [
        workflow(step("other")),
        workflow(step("main"), entrypoint=""),
        workflow({"name": "main", "dag": {"tasks": "none"}}),
        workflow({"name": "main", "steps": {}}),
        workflow({"container": container(1)}),
        workflow(step("main", -1)),
    ],
)
def test_a_workflow_that_is_none_is_unresolved(broken: dict[str, Any]) -> None:
    with pytest.raises(Unresolved):
        demand_of(broken)


def compiled(accelerator: object, config: object = None) -> dict[str, Any]:
    """A workflow as KFP 2.17 compiles a pipeline of one step, without what does not size it."""
    implementation = {"image": "python:3.11", "command": ["python3"], "resources": {"accelerator": accelerator}}
    parameters = [
        {"name": "components-comp-train", "value": json.dumps({"executorLabel": "exec-train"})},
        {"name": "implementations-comp-train", "value": json.dumps(implementation)},
        {"name": "kubernetes-comp-train", "value": json.dumps(config or {})},
        {"name": "components-root", "value": json.dumps({"dag": {"tasks": {"train": {}}}})},
    ]
    driver = [
        {"name": "component", "value": "{{workflow.parameters.components-comp-train}}"},
        {"name": "task", "value": json.dumps({"componentRef": {"name": "comp-train"}})},
        {"name": "container", "value": "{{workflow.parameters.implementations-comp-train}}"},
        {"name": "kubernetes-config", "value": "{{workflow.parameters.kubernetes-comp-train}}"},
    ]
    executor = [{"name": "pod-spec-patch", "value": "{{tasks.train-driver.outputs.parameters.pod-spec-patch}}"}]
    root = [
        {"name": "train-driver", "template": "system-container-driver", "arguments": {"parameters": driver}},
        {"name": "train", "template": "system-container-executor", "arguments": {"parameters": executor}},
    ]
    return workflow(
        step("system-container-driver", None),
        {"name": "system-container-executor", "dag": {"tasks": [{"name": "e", "template": "system-container-impl"}]}},
        step("system-container-impl", None, podSpecPatch="{{inputs.parameters.pod-spec-patch}}"),
        {"name": "root", "dag": {"tasks": root}},
        dag("entrypoint", "root"),
        entrypoint="entrypoint",
        arguments={"parameters": parameters},
    )


@pytest.mark.parametrize(
    ("accelerator", "boards"),
    [
        ({"type": "nvidia.com/gpu", "count": "2"}, 2),
        ({"resourceType": "nvidia.com/gpu", "resourceCount": "4"}, 4),
        ({"type": "NVIDIA_TESLA_T4".replace("_", "-"), "count": 1}, 1),
        ({"resourceType": "{{$.inputs.parameters['kind']}}", "resourceCount": "1"}, 0),
        ({"resourceType": "nvidia.com/gpu", "resourceCount": "{{$.inputs.parameters['n']}}"}, 0),
        ({"resourceType": "cloud-tpus.google.com/v3", "resourceCount": "1"}, 0),
        ("one", 0),
        (None, 0),
    ],
)
def test_a_step_of_a_pipeline_is_sized_by_the_parameters_that_it_was_compiled_into(
    accelerator: object, boards: int
) -> None:
    assert demand_of(compiled(accelerator)).accelerators == boards


def test_a_node_selector_of_a_pipeline_names_the_model() -> None:
    config = {"nodeSelector": {"labels": {"nvidia.com/gpu.product": A100}}}
    (group,) = demand_of(compiled({"type": "nvidia.com/gpu", "count": "2"}, config)).groups
    assert (group.gpu_model, group.accelerators, group.replicas) == (A100, Fraction(2), 1)


def test_accelerators_beyond_every_cluster_are_unresolved() -> None:
    with pytest.raises(Unresolved, match="more than 100000"):
        demand_of(compiled({"type": "nvidia.com/gpu", "count": "9" * 5_000}))
