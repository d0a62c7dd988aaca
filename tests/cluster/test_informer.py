"""The informer at a real API server: pages, events, a version that is gone, a connection that breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes import client

import joulegate_operators.informer
from joulegate_operators.informer import Informer
from joulegate_operators.kube import connect, listed, watched
from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


def config_map(namespace: str, name: str, value: str = "") -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": {"of": "informer"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def name_and_value(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"]["name"], item["data"]["value"]


@pytest.fixture(scope="module")
def core(control_plane: ControlPlane) -> Iterator[client.CoreV1Api]:
    connected = connect(control_plane.kubeconfig)
    yield client.CoreV1Api(connected)
    connected.rest_client.pool_manager.clear()


@contextmanager
def informed(call: Any, namespace: str) -> Iterator[Informer[tuple[str, str]]]:
    informer = Informer("tests", call, name_and_value, namespace=namespace, label_selector="of=informer")
    informer.start()
    assert informer.synced.wait(10)
    yield informer
    informer.stop()


def known(informer: Informer[tuple[str, str]]) -> dict[str, str]:
    return dict(informer.objects().values())


def test_a_list_of_many_pages_and_then_every_event(
    api: Api, core: client.CoreV1Api, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joulegate_operators.informer, "_PAGE", 3)
    for number in range(8):
        api.create(config_map(namespace, f"map-{number}"))
    with informed(core.list_namespaced_config_map, namespace) as informer:
        assert known(informer) == {f"map-{number}": "" for number in range(8)}
        informer.changed.clear()
        api.patch(config_map(namespace, "map-0"), {"data": {"value": "new"}})
        api.delete(config_map(namespace, "map-1"))
        api.create(config_map(namespace, "map-8", "late"))
        expected = {f"map-{number}": "" for number in range(2, 8)} | {"map-0": "new", "map-8": "late"}
        assert eventually(lambda: known(informer) == expected)
        assert informer.changed.is_set()


def test_an_object_that_was_made_again_under_its_name_is_known_once(
    api: Api, core: client.CoreV1Api, namespace: str
) -> None:
    api.create(config_map(namespace, "again", "first"))
    with informed(core.list_namespaced_config_map, namespace) as informer:
        api.delete(config_map(namespace, "again"))
        api.create(config_map(namespace, "again", "second"))
        assert eventually(lambda: list(informer.objects().values()) == [("again", "second")])


class Gone:
    """The answer to a watch from a version that was compacted; a young server has nothing old to refuse."""

    status = 200

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        refusal = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (9)"}
        yield json.dumps({"type": "ERROR", "object": refusal}).encode() + b"\n"

    def close(self) -> None:
        """Nothing is open."""


class Breaking:
    """The real call, but its first watch starts from a version that is gone and its second breaks off."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.watches = 0
        self.lists = 0

    def __call__(self, **options: Any) -> Any:
        if not options.get("watch"):
            self.lists += 1
            return self.call(**options)
        self.watches += 1
        if self.watches == 1:
            return Gone()
        if self.watches == 2:
            raise ConnectionResetError("the connection broke")
        return self.call(**options)


def test_after_410_and_after_a_break_it_lists_again_and_misses_nothing(
    api: Api, core: client.CoreV1Api, namespace: str
) -> None:
    api.create(config_map(namespace, "before"))
    call = Breaking(core.list_namespaced_config_map)
    with informed(call, namespace) as informer:
        eventually(lambda: call.watches >= 3, saying="it watches for the third time")
        api.create(config_map(namespace, "after"))
        assert eventually(lambda: known(informer).keys() == {"before", "after"})
        assert (call.lists, informer.error) == (3, None)


def test_bookmarks_move_the_version_on(api: Api, core: client.CoreV1Api, namespace: str) -> None:
    version = listed(core.list_namespaced_config_map, namespace=namespace)["metadata"]["resourceVersion"]
    # Asked for so, the server ends what it had with a bookmark at once, and not within its usual minute.
    options = {"namespace": namespace, "send_initial_events": True, "resource_version_match": "NotOlderThan"}
    for event in watched(core.list_namespaced_config_map, version, **options):
        if event["type"] == "BOOKMARK":
            assert int(event["object"]["metadata"]["resourceVersion"]) >= int(version), json.dumps(event)
            return
    pytest.fail("the watch ended without a bookmark")
