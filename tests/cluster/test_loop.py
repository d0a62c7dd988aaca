"""The whole loop on a real control plane, the API on PostgreSQL: allowed, run, measured, settled, refused, let in.

Kueue, Argo, JobSet and the trainer cannot be had here: their kinds are minimal definitions with the published fields,
and what their controllers do is imitated where a test needs it, by the account that the chart lists for them.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import joulegate_migrations
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.boards import BURST_MS, MODEL, POWER_MW, QUIET_MW, Boards
from tests.cluster.controlplane import ControlPlane
from tests.cluster.metering import metered
from tests.cluster.node import RUNS_FOR, joined
from tests.cluster.operating import Operating, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import BOARD_HOUR_MJ, job
from tests.cluster.test_chart import bound
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


def settled_to_the_truth(api: Api, world: Operating, boards: Boards, namespace: str, name: str) -> int:
    """What the budget was charged, once nothing is pending: what the script drew under these pods, burst for burst."""
    eventually(lambda: energy(world, name)["pending"] == 0, saying="nothing is pending any more", within_s=60)
    pods = {uid for uid, use in boards.uses.items() if use.ended_ns is not None}
    mine = {each["metadata"]["uid"] for each in api.all("v1", "Pod", namespace)} & pods
    held = sum(len(boards.uses[uid].boards) for uid in mine)
    posted = energy(world, name)["posted"]
    assert abs(posted - sum(boards.true_mj(uid) for uid in mine)) <= held * LATE_S * QUIET_MW
    return posted


def test_a_job_is_allowed_run_measured_and_settled_to_the_millijoule(
    api: Api, alice: Api, world: Operating, boards: Boards, namespace: str
) -> None:
    limited(api, namespace, "1")
    made = alice.create(running_for(job(namespace, gpus=2), 5))
    assert energy(world, namespace)["pending"] == 2 * BOARD_HOUR_MJ
    eventually(lambda: api.read(made)["status"].get("succeeded") == 1, saying="the job is done", within_s=60)
    truth = settled_to_the_truth(api, world, boards, namespace, namespace)
    assert truth >= 2 * BURST_MJ, "two boards drew at least one burst each"
    (hold,) = world.holds(made)
    assert hold["state"] in ("released", "closed")
    limited(api, namespace, str((truth // 3_600) / 1_000_000))
    with pytest.raises(RefusedError, match="exceeded quota: budget"):
        alice.create(job(namespace, name="next"))
