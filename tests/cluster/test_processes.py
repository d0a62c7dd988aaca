"""The chart's processes: each under an account of its own, taken strictly by the real API server."""

from __future__ import annotations

import pytest

from tests.cluster.api import Api, Object
from tests.cluster.programs import Clients
from tests.cluster.test_chart import CHART, helm, rendered

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

SPACE = "joulegate-system"
IMAGE = ("--namespace", SPACE, "--set", "image.repository=example.org/joulegate")
PROCESSES = {"joulegate-api", "joulegate-operator", "joulegate-node"}
LEAVING = "joulegate-leaving"
"""What runs once after an uninstall."""
RUNNING = {"Deployment", "DaemonSet", "Job"}


@pytest.fixture(scope="module")
def space(api: Api) -> str:
    """The namespace that the chart is installed in; other tests use it too."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    return SPACE


def pod_of(source: Object) -> Object:
    pod: Object = source["spec"]["template"]["spec"]
    return pod


def test_without_an_image_nothing_is_started(tools: Clients) -> None:
    assert not RUNNING & {each["kind"] for each in rendered(tools)}


def test_the_api_server_takes_every_object_of_the_processes_strictly(api: Api, tools: Clients, space: str) -> None:
    objects = [each for each in rendered(tools, *IMAGE) if each["kind"] != "CustomResourceDefinition"]
    for source in objects:
        api.apply(source, dryRun="All")
    assert {each["kind"] for each in objects} >= {*RUNNING, "Service", "ServiceAccount", "PodDisruptionBudget"}


def test_each_process_has_an_account_of_its_own_and_the_rights_of_its_role_alone(tools: Clients) -> None:
    objects = rendered(tools, *IMAGE)
    running = [each for each in objects if each["kind"] in RUNNING and each["kind"] != "Job"]
    assert {pod_of(each)["serviceAccountName"] for each in running} == PROCESSES
    bindings = [each for each in objects if each["kind"] == "ClusterRoleBinding"]
    assert {each["roleRef"]["name"]: [subject["name"] for subject in each["subjects"]] for each in bindings} == {
        name: [name] for name in PROCESSES | {LEAVING}
    }
    roles = {each["metadata"]["name"] for each in objects if each["kind"] == "ClusterRole"}
    assert roles >= PROCESSES


def test_no_container_may_write_its_image_or_gain_rights(tools: Clients) -> None:
    for each in rendered(tools, *IMAGE):
        if each["kind"] in RUNNING:
            for container in pod_of(each)["containers"]:
                confined = container["securityContext"]
                assert confined["readOnlyRootFilesystem"], each["metadata"]["name"]
                assert not confined["allowPrivilegeEscalation"]
                assert confined["capabilities"]["drop"] == ["ALL"]


def test_no_password_stands_in_what_is_rendered(tools: Clients) -> None:
    (api,) = (
        each
        for each in rendered(tools, *IMAGE)
        if each["metadata"]["name"] == "joulegate-api" and "spec" in each and each["kind"] == "Deployment"
    )
    told = {each["name"]: each for each in pod_of(api)["containers"][0]["env"]}
    assert told["JOULEGATE_DATABASE"]["valueFrom"]["secretKeyRef"] == {"name": "joulegate-api", "key": "database"}
    assert told["JOULEGATE_METER_ACCOUNTS"]["value"] == f"system:serviceaccount:{SPACE}:joulegate-node"


@pytest.mark.parametrize("setting", ["image.tag=1", "api.replicas=0", "node.selector=x", "image.pullPolicy=Often"])
def test_a_value_of_the_wrong_form_is_refused(tools: Clients, setting: str) -> None:
    done = helm(tools, "template", "joulegate", str(CHART), "--set", setting)
    assert (done.returncode, "values don't meet the specifications" in done.stderr) == (1, True)
