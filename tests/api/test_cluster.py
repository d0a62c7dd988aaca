"""The door to the cluster's API: asks within a deadline, believes only whole answers, and turns doubt into an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate_api.cluster import (
    Attributes,
    Cluster,
    ClusterAddress,
    ClusterError,
    Identity,
    deadline_in,
    open_cluster,
    path_to,
)
from joulegate_api.settings import load
from tests.api.cluster_double import METER, FakeCluster

PODS = path_to("api", "v1", "namespaces", "vision", "pods")


@pytest.fixture
def fake() -> FakeCluster:
    return FakeCluster({PODS + "/a": {"kind": "Pod", "metadata": {"name": "a"}}})


@pytest.fixture
def address(fake: FakeCluster) -> Iterator[str]:
    with fake.serving() as address:
        yield address


@pytest.fixture
def cluster(address: str) -> Iterator[Cluster]:
    cluster = Cluster(ClusterAddress(address))
    yield cluster
    cluster.close()


def test_an_object_is_read_and_a_missing_one_says_so(cluster: Cluster, fake: FakeCluster) -> None:
    found = cluster.get(PODS + "/a", deadline_in(5), {"limit": "1"})
    assert found["metadata"] == {"name": "a"}
    assert fake.asked == [("GET", "/api/v1/namespaces/vision/pods/a?limit=1")]
    with pytest.raises(ClusterError, match="404") as raised:
        cluster.get(PODS + "/b", deadline_in(5))
    assert raised.value.status == 404


def test_a_name_cannot_lead_to_another_object() -> None:
    assert path_to("api", "v1", "namespaces", "a/../../b?x=1#y", "pods") == (
        "/api/v1/namespaces/a%2F..%2F..%2Fb%3Fx%3D1%23y/pods"
    )
    for wrong in ("", ".", ".."):
        with pytest.raises(InvalidInputError):
            path_to("api", wrong)


def test_a_token_is_whose_the_cluster_says_and_only_for_its_audience(cluster: Cluster, fake: FakeCluster) -> None:
    fake.issue("a.b.c")
    fake.issue("d.e.f", audience="other")
    found = cluster.token_review("a.b.c", "joulegate", deadline_in(5))
    assert found is not None
    assert (found.username, found.node, found.groups) == (METER, "node-1", ("system:authenticated",))
    assert cluster.token_review("d.e.f", "joulegate", deadline_in(5)) is None
    assert cluster.token_review("g.h.i", "joulegate", deadline_in(5)) is None


@pytest.mark.parametrize(
    "status",
    [
        '{"authenticated": true, "user": {"username": "x"}}',  # an API server that knows nothing of audiences
        '{"authenticated": true, "audiences": ["other"], "user": {"username": "x"}}',
        '{"authenticated": "yes", "audiences": ["joulegate"], "user": {"username": "x"}}',
        "{}",
    ],
)
def test_a_review_that_proves_nothing_is_nobodys(cluster: Cluster, fake: FakeCluster, status: str) -> None:
    fake.raw = b'{"status": %s}' % status.encode()
    assert cluster.token_review("a.b.c", "joulegate", deadline_in(5)) is None


def test_a_node_is_known_by_exactly_one_claim() -> None:
    assert Identity("x").node is None
    claim = "authentication.kubernetes.io/node-name"
    assert Identity("x", extra={claim: ("a", "b")}).node is None
    assert Identity("x", extra={claim: ("",)}).node is None


def test_the_clusters_own_rules_say_who_may_do_what(cluster: Cluster, fake: FakeCluster) -> None:
    fake.rights.add(("anna", "use", "budgets", "vision"))
    anna = Identity("anna", groups=("team",), extra={"scopes": ("a", "b")})
    use = Attributes("use", "joulegate.io", "budgets", "vision")
    assert cluster.subject_access_review(anna, use, deadline_in(5))
    assert not cluster.subject_access_review(Identity("otto"), use, deadline_in(5))
    spec = fake.bodies[0]["spec"]
    assert (spec["user"], spec["groups"], spec["extra"]) == ("anna", ["team"], {"scopes": ["a", "b"]})
    assert spec["resourceAttributes"] == {
        "verb": "use",
        "group": "joulegate.io",
        "resource": "budgets",
        "name": "vision",
    }


@pytest.mark.parametrize(
    "raw",
    [b"", b"no json", b"[]", b"[" * 100_000, b'{"status": []}', b'{"status": {"authenticated": true}}', b'{"a": 1}'],
)
def test_an_answer_that_makes_no_sense_is_an_error_and_no_right(
    cluster: Cluster, fake: FakeCluster, raw: bytes
) -> None:
    fake.raw = raw
    if b"authenticated" not in raw:
        with pytest.raises(ClusterError):
            cluster.subject_access_review(Identity("x"), Attributes("use", "g", "r"), deadline_in(5))
    if b"status" not in raw or b"[]" in raw:
        with pytest.raises(ClusterError):
            cluster.token_review("a.b.c", "joulegate", deadline_in(5))


def test_an_answer_without_end_is_not_read_to_its_end(cluster: Cluster, fake: FakeCluster) -> None:
    fake.raw = b" " * (17 << 20)
    with pytest.raises(ClusterError, match="larger"):
        cluster.get(PODS + "/a", deadline_in(5))


def test_no_question_takes_longer_than_its_deadline(cluster: Cluster, fake: FakeCluster) -> None:
    fake.slow_s = 2.0
    began = time.monotonic()
    with pytest.raises(ClusterError):
        cluster.get(PODS + "/a", deadline_in(0.2))
    assert time.monotonic() - began < 1.0
    with pytest.raises(ClusterError, match="deadline"):
        cluster.get(PODS + "/a", deadline_in(-1))


def test_what_is_refused_or_away_is_an_error(cluster: Cluster, fake: FakeCluster) -> None:
    fake.issue("a.b.c")
    fake.status = 403
    with pytest.raises(ClusterError, match="told to refuse"):
        cluster.token_review("a.b.c", "joulegate", deadline_in(5))
    away = Cluster(ClusterAddress("http://127.0.0.1:9"))
    with pytest.raises(ClusterError, match="does not answer"):
        away.get(PODS, deadline_in(5))


def test_a_connection_is_kept_and_replaced_when_the_server_closed_it(cluster: Cluster, fake: FakeCluster) -> None:
    for close in (False, True, False, False):
        fake.close_after_answer = close
        assert cluster.get(PODS + "/a", deadline_in(5))
        time.sleep(0.02)
    assert len(fake.asked) == 4


def test_many_threads_ask_at_once(cluster: Cluster, fake: FakeCluster) -> None:
    fake.slow_s = 0.05
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(cluster.get(PODS + "/a", deadline_in(5)))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 50


def test_the_own_token_is_read_anew_for_each_question(fake: FakeCluster, address: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    cluster = Cluster(ClusterAddress(address, token_file=file))
    for token in ("first", "second"):
        file.write_text(token + "\n")
        cluster.get(PODS + "/a", deadline_in(5))
    cluster.close()
    assert fake.proofs == ["Bearer first", "Bearer second"]


def test_addresses_come_from_the_pod_or_from_settings(tmp_path: Path) -> None:
    values = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    inside = ClusterAddress.in_cluster(values, tmp_path)
    assert (inside.url, inside.token_file) == ("https://[fd00::1]:6443", tmp_path / "token")
    with pytest.raises(UnavailableError, match="in no cluster"):
        ClusterAddress.in_cluster({})
    assert open_cluster(load()) is None
    assert open_cluster(load({"kube_api": "http://127.0.0.1:1"})) is not None


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://10.0.0.1", "over TLS only"), ("ftp://x", "no address"), ("https://", "no address")],
)
def test_an_address_that_would_show_tokens_to_others_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UnavailableError, match=reason):
        Cluster(ClusterAddress(url))


def test_certificates_that_cannot_be_read_are_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    for file in ("ca", "absent"):
        with pytest.raises(UnavailableError, match="certificates"):
            Cluster(ClusterAddress("https://127.0.0.1", ca_file=tmp_path / file))
