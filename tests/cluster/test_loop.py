"""The whole loop on a real control plane, the API on PostgreSQL: allowed, run, measured, settled, refused, let in.

Kueue, Argo, JobSet and the trainer cannot be had here: their kinds are minimal definitions with the published fields,
and what their controllers do is imitated where a test needs it, by the account that the chart lists for them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import joulegate_migrations
from joulegate.clock import boottime_ns
from joulegate.core.objects import API_VERSION
from joulegate.core.periods import format_instant
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.boards import BURST_MS, MODEL, POWER_MW, QUIET_MW, Boards
from tests.cluster.controlplane import ControlPlane
from tests.cluster.foreign import ARGO, JOBSET, TRAINER, Controllers, foreign, foreign_kinds, replicated_job
from tests.cluster.metering import metered
from tests.cluster.node import RUNS_FOR, joined
from tests.cluster.operating import Operating, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import BOARD_HOUR_MJ, deployment, job, pod_spec, running
from tests.cluster.test_chart import bound
from tests.cluster.test_operator import budget, settled
from tests.cluster.test_queue import limited
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds"), pytest.mark.timeout(240)]

DATABASE = "joulegate_cluster"
NODE = "loop-0"
BOARDS = 2
"""As many as each piece of work takes: a hold ends once the meter has answered for every board of the node, and it
answers for a board that nobody held when the quarter-hour ends."""
BURST_MJ = POWER_MW * round(BURST_MS) // 1_000
LATE_S = 2
"""How far the instants of Kubernetes, whole seconds cut off, may lie from those of the script at both ends together."""


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """A server with our tables; what is kept need only outlive the server."""
    server = PostgresServer.claim()
    try:
        server.start(["fsync=off"])
        server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.sql(f"CREATE DATABASE {DATABASE}")
        joulegate_migrations.upgrade(server.url(DATABASE))
        yield server
    finally:
        server.release()


@pytest.fixture(scope="module")
def boards() -> Boards:
    return Boards.bursting(BOARDS)


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane,
    api: Api,
    tools: Clients,
    database: PostgresServer,
    boards: Boards,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operating]:
    """API, operator, and a node whose meter is the real one."""
    if shutil.which(shlex.split(os.environ.get("CC", "cc"))[0]) is None:
        pytest.skip("there is no C compiler (cc, or what CC names)")  # the lane needs none otherwise
    api.apply(bound("edit", "alice"))
    labels = {"nvidia.com/gpu.product": MODEL.replace(" ", "-")}
    with (
        foreign_kinds(api),
        joined(control_plane, api, NODE, BOARDS, labels, boards) as node,
        operating(control_plane, api, tools, tmp_path_factory.mktemp("loop"), database.url(DATABASE)) as made,
        metered(made.gate, api, tools, node, boards, tmp_path_factory.mktemp("loop-meter") / "node"),
    ):
        yield made


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_user("alice", "system:authenticated")


def running_for(source: Object, seconds: float) -> Object:
    """The same work, whose pods run for some time."""
    template = source["spec"]["template"]
    template.setdefault("metadata", {})["annotations"] = {RUNS_FOR: str(seconds)}
    return source


def energy(world: Operating, name: str) -> dict[str, int]:
    balance: dict[str, Any] = world.gate.client.get(f"/v1/budgets/{name}/balance")["energy"]
    return {key: int(balance[key]) for key in ("limit", "posted", "pending", "available", "debt")}


def pods_in(api: Api, namespace: str) -> set[str]:
    return {each["metadata"]["uid"] for each in api.all("v1", "Pod", namespace)}


def settled_to_the_truth(world: Operating, boards: Boards, budget: str, pods: set[str]) -> int:
    """What the budget was charged, once nothing is pending: what the script drew under these pods, burst for burst."""
    eventually(lambda: energy(world, budget)["pending"] == 0, saying="nothing is pending any more", within_s=60)
    held = sum(len(boards.uses[uid].boards) for uid in pods)
    posted = energy(world, budget)["posted"]
    assert abs(posted - sum(boards.true_mj(uid) for uid in pods)) <= held * LATE_S * QUIET_MW
    return posted


def exhausted(api: Api, namespace: str, truth_mj: int) -> None:
    """Leave the budget no more than what was drawn."""
    assert truth_mj >= 2 * BURST_MJ, "two boards drew at least one burst each"
    limited(api, namespace, str((truth_mj // 3_600) / 1_000_000))


def test_a_job_is_allowed_run_measured_and_settled_to_the_millijoule(
    api: Api, alice: Api, world: Operating, boards: Boards, namespace: str
) -> None:
    limited(api, namespace, "1")
    made = alice.create(running_for(job(namespace, gpus=2), 5))
    assert energy(world, namespace)["pending"] == 2 * BOARD_HOUR_MJ
    eventually(lambda: api.read(made)["status"].get("succeeded") == 1, saying="the job is done", within_s=60)
    truth = settled_to_the_truth(world, boards, namespace, pods_in(api, namespace))
    (hold,) = world.holds(made)
    assert hold["state"] in ("released", "closed")
    exhausted(api, namespace, truth)
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(job(namespace, name="next"))


def a_job_set(namespace: str, name: str = "work") -> Object:
    jobs = [replicated_job("trainer", pod_spec(1), {RUNS_FOR: "5"}, replicas=2)]
    return foreign(JOBSET, "JobSet", namespace, {"replicatedJobs": jobs}, name)


def a_train_job(namespace: str, name: str = "work") -> Object:
    reference = {"apiGroup": TRAINER.split("/")[0], "kind": "TrainingRuntime", "name": "torch"}
    return foreign(TRAINER, "TrainJob", namespace, {"runtimeRef": reference, "trainer": {"numNodes": 2}}, name)


def a_runtime(namespace: str) -> Object:
    pod = pod_spec(1)
    pod["containers"][0]["name"] = "node"
    jobs = [replicated_job("node", pod, {RUNS_FOR: "5"})]
    return foreign(TRAINER, "TrainingRuntime", namespace, {"template": {"spec": {"replicatedJobs": jobs}}}, "torch")


def a_workflow(namespace: str, name: str = "work") -> Object:
    """As KFP compiles two steps that run beside each other, without what does not concern their pods."""
    steps = [{"name": each, "container": pod_spec(1)["containers"][0]} for each in ("first", "second")]
    tasks = [{"name": each["name"], "template": each["name"]} for each in steps]
    spec = {"entrypoint": "main", "templates": [{"name": "main", "dag": {"tasks": tasks}}, *steps]}
    return foreign(ARGO, "Workflow", namespace, spec, name)


def run_job_set(api: Api, made: Object) -> list[Object]:
    Controllers(api).jobs_of(made)
    return [made]


def run_train_job(api: Api, made: Object) -> list[Object]:
    between = Controllers(api).job_set_of(made, a_runtime(made["metadata"]["namespace"]))
    Controllers(api).jobs_of(between)
    return [between, made]


def run_workflow(api: Api, made: Object) -> list[Object]:
    Controllers(api).pods_of(made, {RUNS_FOR: "5"})
    return [made]


Source = Callable[..., Object]
Run = Callable[[Api, Object], list[Object]]


@pytest.mark.parametrize(
    ("source", "run"),
    [
        pytest.param(a_job_set, run_job_set, id="JobSet"),
        pytest.param(a_train_job, run_train_job, id="TrainJob"),
        pytest.param(a_workflow, run_workflow, id="Workflow"),
    ],
)
def test_a_chain_is_held_at_its_root_and_settled_to_the_millijoule(
    api: Api, alice: Api, world: Operating, boards: Boards, namespace: str, source: Source, run: Run
) -> None:
    limited(api, namespace, "1")
    if source is a_train_job:
        api.create(a_runtime(namespace))
    asked = source(namespace)
    made = {**asked, **alice.create(asked)}
    assert energy(world, namespace)["pending"] == 2 * BOARD_HOUR_MJ
    objects = run(api, made)
    assert energy(world, namespace)["pending"] == 2 * BOARD_HOUR_MJ, "what controllers make for it is held with it"
    eventually(lambda: phases(api, namespace) == ["Succeeded"] * 2, saying="both pods are done", within_s=60)
    Controllers(api).done(*objects)
    truth = settled_to_the_truth(world, boards, namespace, pods_in(api, namespace))
    (hold,) = world.holds(made)
    assert hold["state"] in ("released", "closed")
    exhausted(api, namespace, truth)
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(source(namespace, "next"))


def phases(api: Api, namespace: str) -> list[str]:
    return [str(each["status"].get("phase")) for each in api.all("v1", "Pod", namespace)]


def test_a_deployment_grows_by_what_is_there_and_is_settled_when_it_goes(
    api: Api, alice: Api, world: Operating, boards: Boards, namespace: str
) -> None:
    limited(api, namespace, "1", horizon="1h")
    made = alice.create(deployment(namespace, 1))
    made = {"apiVersion": "apps/v1", "kind": "Deployment", **made}
    eventually(lambda: len(running(api, namespace)) == 1, saying="one replica runs")
    alice.patch(made, {"spec": {"replicas": 2}}, "scale")
    eventually(lambda: len(running(api, namespace)) == 2, saying="two replicas run")
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.patch(made, {"spec": {"replicas": 3}}, "scale")
    assert api.read(made)["spec"]["replicas"] == 2
    pods = pods_in(api, namespace)
    burst_of_each(boards, pods)
    alice.delete(made)
    eventually(lambda: all(boards.uses[uid].ended_ns for uid in pods), saying="both have ended", within_s=60)
    truth = settled_to_the_truth(world, boards, namespace, pods)
    exhausted(api, namespace, truth)
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(deployment(namespace, 1))


def burst_of_each(boards: Boards, pods: set[str]) -> None:
    """Wait until each has drawn a burst."""
    eventually(boards.are_quiet, saying="the burst is over")
    begun = max(boards.uses[uid].begun_ns for uid in pods)
    eventually(lambda: boards.fleet.true_mj(0, begun, boottime_ns()) >= BURST_MJ, saying="a burst was drawn")


def test_an_exception_lets_work_in_until_it_expires(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0.1")
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(job(namespace))
    until = datetime.now(UTC) + timedelta(seconds=12)
    spec = {"budgets": [namespace], "amount": {"energyKwh": "10"}, "reason": "a paper", "requestedBy": "ana"}
    metadata = {"name": "more", "namespace": namespace}
    asked = {"apiVersion": API_VERSION, "kind": "BudgetException", "metadata": metadata}
    made = api.apply(asked | {"spec": spec | {"expiresAt": format_instant(until)}})
    assert settled(api, made, "False")["reason"] == "AwaitingApproval"
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(job(namespace))
    settled(api, api.patch(made, {"spec": {"approvedBy": "bo"}}))
    alice.create(job(namespace, name="let-in"))
    assert energy(world, namespace)["pending"] == BOARD_HOUR_MJ
    eventually(lambda: settled(api, made, "False")["reason"] == "Expired", saying="it has expired", within_s=60)
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(job(namespace, name="late"))


def test_when_the_period_turns_work_starts_again(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    """Two budgets of one namespace, one span after the other; the first has room for nothing."""
    turn = (datetime.now(UTC) + timedelta(seconds=15)).replace(microsecond=0)
    before, after = turn - timedelta(days=1), turn + timedelta(days=1)
    for name, kwh, start, end in ((f"{namespace}-a", "0.001", before, turn), (f"{namespace}-b", "1", turn, after)):
        span = {"start": format_instant(start), "end": format_instant(end)}
        limited_span(api, name, namespace, kwh, span)
    with pytest.raises(RefusedError, match=f"exceeded quota: budget {namespace}-a"):
        alice.create(job(namespace))
    time.sleep(max(0.0, (turn - datetime.now(UTC)).total_seconds()) + 1)
    alice.create(job(namespace))
    assert energy(world, f"{namespace}-b")["pending"] == BOARD_HOUR_MJ


def limited_span(api: Api, name: str, namespace: str, kwh: str, span: dict[str, str]) -> None:
    scope = {"namespaces": [namespace]}
    settled(api, api.apply(budget(name, scope=scope, period=span, limits={"energyKwh": kwh})))
