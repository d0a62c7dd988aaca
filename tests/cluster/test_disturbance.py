"""API, operator and database gone, each and together: what is refused, what goes on, and how the books are closed.

The budget of the closed namespace refuses what nobody can decide, that of the open one lets it in. Processes are
killed, PostgreSQL is stopped as a power cut would, and each is started again where it was. The API that hangs takes
connections and answers nothing, so that whoever calls it waits as long as a webhook may.
"""

from __future__ import annotations

import functools
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

import pytest

from joulegate_api.store import Store
from tests.cluster.admitting import may
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.books import clean, entries, faults, live_holds
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.operating import Operating, operating
from tests.cluster.programs import Clients
from tests.cluster.replicas import postgres
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, deployment, job, pod_spec, running, work
from tests.cluster.test_chart import bound
from tests.cluster.test_queue import LABEL, labels, limited
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120), pytest.mark.usefixtures("crds")]

DATABASE = "joulegate_disturbance"
PARTS = ("database", "api", "operator")
HANGING = "api that hangs"
GONE = [*(gone for count in (1, 2, 3) for gone in combinations(PARTS, count)), (HANGING,)]
LIMIT_MJ = 3 * BOARD_HOUR_MJ
REFUSED = "exceeded quota: .*Undecidable|failed calling webhook"
"""What the closed namespace is told: by the API without its database, by the API server without the API."""
SYSTEM_S = 1.5
"""How long a system pod may take to be created, less than a webhook that is called and does not answer."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything of ours, with the database under it."""

    made: Operating
    server: PostgresServer
    store: Store

    def stop(self, part: str) -> None:
        """Gone without a word."""
        how: dict[str, Callable[[], object]] = {
            "api": lambda: self.made.gate.stop(signal.SIGKILL),
            "operator": self.made.kill,
            "database": self._cut,
            HANGING: lambda: self._signal(signal.SIGSTOP),
        }
        how[part]()

    def start(self, part: str) -> None:
        """There again; the API once it answers, the others as soon as they may."""
        how: dict[str, Callable[[], object]] = {
            "api": self.made.gate.start,
            "operator": self.made.start,
            "database": lambda: self.server.start(["fsync=off"]),
            HANGING: lambda: self._signal(signal.SIGCONT),
        }
        how[part]()

    def _cut(self) -> None:
        self.server.stop("immediate")
        self.store.close()

    def _signal(self, number: signal.Signals) -> None:
        process = self.made.gate.process
        assert process is not None
        process.send_signal(number)

    @contextmanager
    def without(self, parts: Sequence[str]) -> Iterator[None]:
        for part in reversed(parts):
            self.stop(part)
        try:
            yield
        finally:
            for part in parts:
                self.start(part)


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    api.apply(bound("edit", "alice"))
    with (
        joined(control_plane, api, "disturbed-0", 64, {"nvidia.com/gpu.product": A100}),
        postgres(DATABASE) as server,
        operating(control_plane, api, tools, tmp_path_factory.mktemp("disturbed"), server.url(DATABASE)) as made,
    ):
        store = Store.open(server.url(DATABASE))
        yield World(made, server, store)
        store.close()


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_user("alice", "system:authenticated")


@pytest.fixture
def open_(api: Api, world: World, namespace: str) -> Iterator[str]:
    """A namespace with a budget of three board hours that lets in what nobody can decide."""
    source: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-open"}}
    api.create(source)
    yield from _bound(api, f"{namespace}-open", "Allow")
    api.delete(source)


@pytest.fixture
def closed(api: Api, world: World, namespace: str) -> Iterator[str]:
    """A namespace with a budget of three board hours that refuses what nobody can decide."""
    yield from _bound(api, namespace, "Deny")


def _bound(api: Api, namespace: str, when_undecidable: str) -> Iterator[str]:
    kwh = str(Decimal(LIMIT_MJ) / 3_600_000_000)
    made = limited(api, namespace, kwh, whenUndecidable=when_undecidable)
    wanted = "deny" if when_undecidable == "Deny" else None
    eventually(lambda: labels(api, namespace).get(LABEL) == wanted, saying="the namespace is what its budget says")
    yield namespace
    api.delete(made)


def serving(api: Api, world: World, alice: Api, namespaces: Sequence[str]) -> dict[str, Object]:
    """A Deployment of one board in each namespace, running, its hold confirmed."""
    made = {namespace: alice.create(deployment(namespace, 1)) for namespace in namespaces}
    for namespace, source in made.items():
        wanted = {source["metadata"]["uid"]: ["confirmed"]}
        eventually(functools.partial(running, api, namespace), saying="its pod runs")
        eventually(functools.partial(lambda *told: states(world, told[0]) == told[1], namespace, wanted))
    return made


def states(world: World, namespace: str) -> dict[str, list[str]]:
    return live_holds(world.store, namespace)


def replaced(api: Api, namespaces: Iterable[str]) -> None:
    """The pods of what runs are deleted, and others run in their place."""
    before = {namespace: running(api, namespace) for namespace in namespaces}
    for namespace in before:
        for each in api.all("v1", "Pod", namespace):
            api.delete(each)
    eventually(lambda: all(running(api, name) - pods for name, pods in before.items()), saying="pods are replaced")


def system_pods_never_wait(api: Api) -> None:
    for name, gpus in (("system", 0), ("system-with-a-board", 1)):
        begun = time.monotonic()
        made = api.create(work("Pod", "kube-system", pod_spec(gpus), name))
        assert time.monotonic() - begun < SYSTEM_S
        api.delete(made)


def tried(alice: Api, namespace: str, gpus: int) -> Object | str:
    """A Job that was created, or why it was not."""
    try:
        return alice.create(job(namespace, gpus, name=f"boards-{gpus}"))
    except RefusedError as refused:
        return str(refused)


def submitted(alice: Api, closed: str, open_: str, *, decides: bool) -> list[Object]:
    """What was let in, of Jobs that fit and Jobs that do not, all at once."""
    asked = [(space, gpus) for space in (closed, open_) for gpus in (1, 3)]
    with ThreadPoolExecutor(len(asked)) as pool:
        told = dict(zip(asked, pool.map(lambda each: tried(alice, *each), asked), strict=True))
    made = {each: answer for each, answer in told.items() if isinstance(answer, dict)}
    if decides:
        assert made.keys() == {(closed, 1), (open_, 1)}, told
    else:
        assert made.keys() == {(open_, 1), (open_, 3)}, told
    refusal = re.compile("exceeded quota: " if decides else REFUSED)
    assert all(refusal.search(answer) for answer in told.values() if isinstance(answer, str)), told
    return list(made.values())


def recorded(world: World, namespace: str) -> set[str]:
    """The roots of which the log says that nobody admitted them, each with a hold that was written all the same."""
    told = entries(world.store, namespace)
    forced = [each["body"]["root_uid"] for each in told if each["body"].get("origin") == "adopted"]
    unadmitted = [each["body"]["root_uid"] for each in told if each["type"] == "unadmitted_usage"]
    assert sorted(unadmitted) == sorted(forced), "each is told once, and held for"
    return set(forced)


def uids(made: Iterable[Object]) -> set[str]:
    return {each["metadata"]["uid"] for each in made}


def namespace_of(source: Object) -> str:
    return str(source["metadata"]["namespace"])


@pytest.mark.parametrize("gone", GONE, ids=" and ".join)
def test_nothing_is_let_in_or_disturbed_and_the_books_are_closed_without(
    api: Api, alice: Api, world: World, closed: str, open_: str, gone: tuple[str, ...]
) -> None:
    made = [*serving(api, world, alice, (closed, open_)).values()]
    decides = gone == ("operator",)
    with world.without(gone):
        new = submitted(alice, closed, open_, decides=decides)
        replaced(api, (closed, open_))
        system_pods_never_wait(api)
    there = {space: uids(each for each in (*made, *new) if namespace_of(each) == space) for space in (closed, open_)}

    def one_hold_each() -> bool:
        wanted = {name: {uid: ["confirmed"] for uid in roots} for name, roots in there.items()}
        return {name: states(world, name) for name in there} == wanted

    eventually(one_hold_each, saying="every root has one hold, and nothing else has one", within_s=45)
    pending = {name: world.made.gate.pending(name) // BOARD_HOUR_MJ for name in there}
    wanted = {closed: 2, open_: 2} if decides else {closed: 1, open_: 5}
    assert pending == wanted, "what started meanwhile counts, replacements do not"
    forced = recorded(world, open_)
    assert recorded(world, closed) == set()
    if gone == (HANGING,):
        assert forced <= uids(new), "reviews that nobody waited for any more were decided when it went on"
    else:
        assert forced == (set() if decides else uids(new))
    clean(world.made.gate)
    assert faults(world.store, dict.fromkeys(there, LIMIT_MJ)) == []
    assert may(alice, job(closed, 1))
    assert not may(alice, job(closed, 3))
