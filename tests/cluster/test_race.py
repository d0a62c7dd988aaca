"""300 Jobs at once at a budget with room for 37, twice, while a replica of the API and the operator are killed.

The API server presents its client certificate, through a balancer that forwards TCP, to two replicas on one
PostgreSQL. Whoever gets no answer, and whoever is refused, tries again under the same name.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx2
import pytest

from joulegate_api.store import Store
from tests.cluster.admitting import Admitting
from tests.cluster.api import Api, RefusedError, eventually
from tests.cluster.books import clean, entries, faults, live_holds
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.operating import Operating
from tests.cluster.programs import Clients
from tests.cluster.replicas import Replica, postgres, replicated
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, job
from tests.cluster.test_queue import LABEL, labels, limited

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.usefixtures("crds")]

DATABASE = "joulegate_race"
JOBS, ROOM = 300, 37
LIMIT_MJ = ROOM * BOARD_HOUR_MJ + BOARD_HOUR_MJ // 2
ATTEMPTS = 20
KILL_AFTER = 5
"""Holds of a round after which something is killed: the next are being made, and answers are under way."""

World = tuple[Operating, Sequence[Admitting | Replica], Store]


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with (
        joined(control_plane, api, "race-0", 2 * ROOM + 1, {"nvidia.com/gpu.product": A100}),
        postgres(DATABASE) as server,
        replicated(control_plane, api, tools, tmp_path_factory.mktemp("race"), server.url(DATABASE)) as (made, both),
    ):
        store = Store.open(server.url(DATABASE))
        yield made, both, store
        store.close()


@pytest.fixture
def crowd(control_plane: ControlPlane) -> Iterator[Api]:
    """A client that asks everything at once."""
    many = Api.open(control_plane.kubeconfig, JOBS)
    yield many
    many.close()


def submit(crowd: Api, namespace: str) -> dict[str, list[str]]:
    """Create all Jobs at once, each again under its name until the gate answers; who exists, and who is refused.

    A refusal is tried once more: what was held for somebody whose answer was lost may be free by then.
    """
    begin = threading.Barrier(JOBS)
    told: dict[str, list[str]] = {"exists": [], "refused": [], "unanswered": []}

    def one(name: str) -> tuple[str, str]:
        source = job(namespace, name=name)
        begin.wait()
        refusals = 0
        for attempt in range(ATTEMPTS):
            try:
                crowd.create(source)
            except RefusedError as refused:
                if refused.status == httpx2.codes.CONFLICT:
                    return name, "exists"
                refusals += refused.status == httpx2.codes.TOO_MANY_REQUESTS and "exceeded quota" in str(refused)
                if refusals == 2:
                    return name, "refused"
                time.sleep(0.2 * (attempt + 1))
            else:
                return name, "exists"
        return name, "unanswered"

    with ThreadPoolExecutor(JOBS) as pool:
        for name, how in pool.map(one, [f"job-{number}" for number in range(JOBS)]):
            told[how].append(name)
    return told


def kill_in_between(made: Operating, replica: Admitting | Replica, store: Store, namespace: str) -> None:
    eventually(lambda: len(live_holds(store, namespace)) >= KILL_AFTER, saying="some are admitted")
    replica.stop(signal.SIGKILL)
    made.kill()
    made.start()
    replica.start()


@pytest.mark.parametrize("killed", [0, 1], ids=["first", "second"])
def test_of_300_jobs_at_once_as_many_are_admitted_as_there_is_room_for(
    api: Api, crowd: Api, world: World, namespace: str, killed: int
) -> None:
    made, replicas, store = world
    limited(api, namespace, str(Decimal(LIMIT_MJ) / 3_600_000_000))
    eventually(lambda: labels(api, namespace).get(LABEL) == "deny", saying="the namespace is closed")
    trouble = threading.Thread(target=kill_in_between, args=(made, replicas[killed], store, namespace))
    trouble.start()
    told = submit(crowd, namespace)
    trouble.join()
    assert told["unanswered"] == []
    there = {each["metadata"]["uid"]: each["metadata"]["name"] for each in api.all("batch/v1", "Job", namespace)}
    assert sorted(there.values()) == sorted(told["exists"])
    assert len(there) == ROOM
    eventually(
        lambda: live_holds(store, namespace) == {uid: ["confirmed"] for uid in there},
        saying="each Job has one hold, and nothing else has one",
        within_s=60,
    )
    assert made.gate.pending(namespace) == ROOM * BOARD_HOUR_MJ
    clean(made.gate)
    assert faults(store, {namespace: LIMIT_MJ}) == []
    held = [each["body"] for each in entries(store, namespace) if each["body"].get("held")]
    assert {each["origin"] for each in held} == {"admitted"}, "the webhook admitted each, nobody adopted any"
