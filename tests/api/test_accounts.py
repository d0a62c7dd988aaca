"""Tokens of the cluster: a meter speaks for the node that its token is bound to, and doubt lets nobody in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegate.core.errors import NotPermittedError
from joulegate_api.accounts import KEPT_S, MOST_KEPT, REFUSED_S, Accounts
from joulegate_api.cluster import Cluster, ClusterAddress, ClusterError
from joulegate_api.settings import load
from joulegate_api.store import Store
from tests.api.cluster_double import METER, FakeCluster
from tests.api.running import Service
from tests.api.test_windows import batch, device, window


@pytest.fixture
def fake() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def service(fake: FakeCluster, sqlite_url: str, tmp_path: Path) -> Iterator[Service]:
    """The application in a cluster that the stand-in is."""
    store = Store.open(sqlite_url)
    with fake.serving() as address:
        running = Service(store, tmp_path, kube_api=address)
        with running.client:
            yield running
    store.close()


def post(service: Service, path: str, body: object, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return int(service.call("POST", path, body, by=None, headers=headers).status_code)


def test_a_meter_speaks_for_the_node_of_its_token_and_for_no_other(service: Service, fake: FakeCluster) -> None:
    one, two = fake.issue("one.b.c"), fake.issue("two.b.c", node="node-2")
    assert post(service, "/v1/devices", device(), one) == 201
    assert post(service, "/v1/devices", device(), two) == 403
    assert post(service, "/v1/windows", batch(window(0)), one) == 200
    assert post(service, "/v1/windows", batch(window(1)), two) == 409, "an incarnation belongs to its node"


def test_the_operator_is_known_by_the_token_of_its_account(service: Service, fake: FakeCluster) -> None:
    ours = "system:serviceaccount:joulegate-system:joulegate-operator"
    body = {"begun_at": "2026-01-01T00:00:00Z", "complete": True, "objects": []}
    other = ours.replace("joulegate-system", "vision")
    cases = [
        (fake.issue("one.b.c", ours, node=None), 200),
        (fake.issue("two.b.c", other), 403),  # the name of ours, elsewhere
        (fake.issue("three.b.c", ours, audience="https://kubernetes.default.svc"), 401),
    ]
    for token, status in cases:
        headers = {"Authorization": f"Bearer {token}"}
        told = service.call("PUT", "/v1/inventories/local/jobs", body, by=None, headers=headers)
        assert told.status_code == status


def test_the_operator_sees_the_holds_of_every_namespace_of_its_own_cluster(service: Service, fake: FakeCluster) -> None:
    token = fake.issue("one.b.c", "system:serviceaccount:joulegate-system:joulegate-operator", node=None)
    headers = {"Authorization": f"Bearer {token}"}
    asked = {"cluster=local": 200, "cluster=elsewhere": 403, "": 403}
    told = {query: service.call("GET", f"/v1/holds?{query}", by=None, headers=headers).status_code for query in asked}
    assert told == asked


@pytest.mark.parametrize(
    ("issued", "status"),
    [
        ({"username": "system:serviceaccount:vision:trainer"}, 403),  # a workload posts energy
        ({"username": "system:serviceaccount:vision:joulegate-node"}, 403),  # the name of ours, elsewhere
        ({"audience": "https://kubernetes.default.svc"}, 401),  # a token that was made for another
        ({"node": None}, 403),  # a token that is bound to no pod
    ],
)
def test_t6_no_other_token_of_the_cluster_writes_energy(
    service: Service, fake: FakeCluster, issued: dict[str, str | None], status: int
) -> None:
    token = fake.issue("a.b.c", **issued)  # type: ignore[arg-type]
    assert post(service, "/v1/devices", device(), token) == status
    assert post(service, "/v1/windows", batch(window(0)), token) == status


def test_t6_a_token_that_ended_is_refused_when_the_cluster_is_asked_again(
    service: Service, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = fake.issue("a.b.c")
    assert post(service, "/v1/devices", device(), token) == 201
    fake.tokens.clear()
    assert post(service, "/v1/devices", device(), token) == 200, "kept for a minute"
    now = service.context.accounts._clock()  # type: ignore[union-attr]
    monkeypatch.setattr(service.context.accounts, "_clock", lambda: now + KEPT_S + 1)
    assert post(service, "/v1/devices", device(), token) == 401


def test_t7_where_the_cluster_does_not_answer_nobody_new_is_let_in(service: Service, fake: FakeCluster) -> None:
    known, new = fake.issue("a.b.c"), fake.issue("d.e.f")
    assert post(service, "/v1/devices", device(), known) == 201
    fake.status = 500
    assert post(service, "/v1/devices", device(), known) == 200
    assert post(service, "/v1/devices", device(), new) == 503
    assert post(service, "/v1/windows", batch(window(0)), new) == 503
    fake.status = 200
    assert post(service, "/v1/devices", device(), new) == 200


def test_principals_of_the_tokens_file_do_not_need_the_cluster(service: Service, fake: FakeCluster) -> None:
    fake.status = 500
    assert service.get("/v1/budgets").status_code == 200
    assert service.get("/v1/budgets", by="nobody").status_code == 401
    assert fake.asked == []


@pytest.fixture
def cluster(fake: FakeCluster) -> Iterator[Cluster]:
    with fake.serving() as address:
        cluster = Cluster(ClusterAddress(address))
        yield cluster
        cluster.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_cluster_is_asked_once_a_minute_and_of_a_strangers_token_every_ten_seconds(
    fake: FakeCluster, cluster: Cluster
) -> None:
    clock = Clock()
    accounts = Accounts(cluster, load(), clock)
    fake.issue("a.b.c")
    for token, kept_s in (("a.b.c", KEPT_S), ("x.y.z", REFUSED_S)):
        assert accounts._must_ask(token)
        accounts.ask(token)
        clock.now += kept_s - 0.1
        assert not accounts._must_ask(token)
        clock.now += 0.2
        assert accounts._must_ask(token)
        assert accounts.principal(token) is None, "what is too old is no proof"


def test_only_what_looks_like_a_token_of_the_cluster_is_asked_about(cluster: Cluster) -> None:
    accounts = Accounts(cluster, load())
    for text in ("jg_abc", "a.b", "a.b.c.d", "a.b.c d", "a..c", "é.b.c", "a." * 9_000 + "b.c", "a" * 17_000 + ".b.c"):
        assert not accounts._must_ask(text)
        assert accounts.principal(text) is None


def test_what_is_kept_has_a_bound(fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulegate_api.accounts.MOST_KEPT", 8)
    accounts = Accounts(cluster, load())
    for number in range(20):
        accounts.ask(f"a.b.{number}")
    assert len(accounts._known) == 8 < MOST_KEPT
    assert not accounts._must_ask("a.b.19")
    assert accounts._must_ask("a.b.0")


def test_a_failed_question_leaves_no_answer(fake: FakeCluster, cluster: Cluster) -> None:
    accounts = Accounts(cluster, load())
    fake.issue("a.b.c")
    fake.status = 503
    with pytest.raises(ClusterError):
        accounts.ask("a.b.c")
    assert accounts.principal("a.b.c") is None
    fake.status = 200
    accounts.ask("a.b.c")
    found = accounts.principal("a.b.c")
    assert found is not None
    assert found.name == "node:node-1"


def test_a_meters_token_without_a_node_is_told_what_is_missing(fake: FakeCluster, cluster: Cluster) -> None:
    accounts = Accounts(cluster, load())
    accounts.ask(fake.issue("a.b.c", node=None))
    with pytest.raises(NotPermittedError, match="bound to no node"):
        accounts.principal("a.b.c")


def test_accounts_of_meters_are_a_setting(fake: FakeCluster, cluster: Cluster) -> None:
    accounts = Accounts(cluster, load({"meter_accounts": "system:serviceaccount:energy:meter", "cluster": "east"}))
    accounts.ask(fake.issue("a.b.c", username="system:serviceaccount:energy:meter"))
    accounts.ask(fake.issue("d.e.f", username=METER))
    meter, other = accounts.principal("a.b.c"), accounts.principal("d.e.f")
    assert meter is not None
    assert other is not None
    assert {grant.cluster for grant in meter.grants} == {"east"}
    assert (other.name, other.roles) == (METER, frozenset())


def test_a_flood_of_unknown_tokens_does_not_hold_up_who_is_known(service: Service, fake: FakeCluster) -> None:
    fake.slow_s = 0.3
    statuses: list[int] = []
    flood = [
        threading.Thread(target=lambda n=n: statuses.append(post(service, "/v1/devices", device(), f"a.b.{n}")))
        for n in range(60)
    ]
    for thread in flood:
        thread.start()
    assert service.get("/v1/budgets").status_code == 200
    for thread in flood:
        thread.join()
    assert set(statuses) == {401, 503}
    assert fake.count("tokenreviews") < 60
