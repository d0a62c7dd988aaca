"""A kubelet, a cluster's API and Joulegate's API, real servers on this machine that do as they are told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc

from joulegate_operators.node import pod_resources_messages as messages


@dataclass
class Kubelet:
    """Holders of devices: (namespace, pod, container) -> {resource name: ids}, or claimed devices."""

    held: dict[tuple[str, str, str], dict[str, list[str]]] = field(default_factory=dict)
    claimed: dict[tuple[str, str, str], list[tuple[str, str, str, str]]] = field(default_factory=dict)
    allocatable: dict[str, list[str]] = field(default_factory=dict)
    asked: int = 0

    def list(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        self.asked += 1
        answer = messages.ListResponse()
        for key in sorted({*self.held, *self.claimed}):
            namespace, pod, container = key
            row = answer.pod_resources.add(name=pod, namespace=namespace).containers.add(name=container)
            for resource, ids in self.held.get(key, {}).items():
                row.devices.add(resource_name=resource, device_ids=ids)
            for claim, driver, pool, device in self.claimed.get(key, []):
                dynamic = row.dynamic_resources.add(claim_name=claim, claim_namespace=namespace)
                dynamic.claim_resources.add(driver_name=driver, pool_name=pool, device_name=device)
        return answer

    def get_allocatable(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        answer = messages.AllocatableResponse()
        for resource, ids in self.allocatable.items():
            answer.devices.add(resource_name=resource, device_ids=ids)
        return answer

    @contextmanager
    def serving(self, socket: Path) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(2))
        handlers = {
            "List": grpc.unary_unary_rpc_method_handler(
                self.list, messages.ListRequest.FromString, messages.ListResponse.SerializeToString
            ),
            "GetAllocatableResources": grpc.unary_unary_rpc_method_handler(
                self.get_allocatable,
                messages.AllocatableRequest.FromString,
                messages.AllocatableResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.SERVICE, handlers)])
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")

    def say(self, status: int, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pod_object(uid: str, name: str, namespace: str = "vision", phase: str = "Running", node: str = "node-1") -> Any:
    return {
        "metadata": {"uid": uid, "name": name, "namespace": namespace},
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }


@dataclass
class Cluster:
    """Lists and watches of pods, ResourceSlices and claims, as the API server answers them."""

    pods: dict[str, Any] = field(default_factory=dict)
    slices: list[Any] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    resource_version: str | None = "v1"
    node_uid: str = "node-uid-1"
    events: list[Any] = field(default_factory=list)
    selectors: list[str] = field(default_factory=list)
    compacted: int = 0
    closed: bool = False
    slices_away: bool = False
    """Whether nothing about ResourceSlices is answered."""

    def put(self, pod: Any) -> None:
        uid = pod["metadata"]["uid"]
        kind = "MODIFIED" if uid in self.pods else "ADDED"
        pod["metadata"]["resourceVersion"] = str(len(self.events) + 1)
        self.pods[uid] = pod
        self.events.append({"type": kind, "object": pod})

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        pod["metadata"]["resourceVersion"] = str(len(self.events) + 1)
        self.events.append({"type": "DELETED", "object": pod})

    def compact(self) -> None:
        """Forget the past: watches from before are told that it is gone."""
        self.compacted = len(self.events)

    @contextmanager
    def serving(self) -> Iterator[str]:
        answering = type("Answering", (_ClusterAnswering,), {"cluster": self})
        with _served(answering) as port:
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                self.closed = True


class _ClusterAnswering(_Answering):
    cluster: Cluster

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/api/v1/pods":
            self.cluster.selectors.append(query.get("fieldSelector", ""))
            self.watch(query) if query.get("watch") in {"true", "True"} else self.items(
                list(self.cluster.pods.values())
            )
        elif parts.path.startswith("/api/v1/nodes/"):
            self.say(200, {"metadata": {"uid": self.cluster.node_uid}})
        elif "/resourceslices" in parts.path and self.cluster.slices_away:
            self.say(503, {"kind": "Status", "code": 503, "message": "unavailable"})
        elif parts.path == f"/apis/resource.k8s.io/{self.cluster.resource_version}/resourceslices":
            if query.get("watch"):
                self.idle()
            else:
                self.items(self.cluster.slices)
        elif "/resourceclaims/" in parts.path and parts.path.rpartition("/")[2] in self.cluster.claims:
            self.say(200, self.cluster.claims[parts.path.rpartition("/")[2]])
        else:
            self.say(404, {"kind": "Status", "code": 404, "message": "not found"})

    def items(self, items: list[Any]) -> None:
        self.say(200, {"metadata": {"resourceVersion": str(len(self.cluster.events))}, "items": items})

    def idle(self) -> None:
        self.begin()
        while not self.cluster.closed:
            time.sleep(0.05)
        with suppress(OSError):
            self.end()

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def watch(self, query: dict[str, str]) -> None:
        at = int(query["resourceVersion"])
        self.begin()
        if at < self.cluster.compacted:
            self.send({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
            self.end()
            return
        with suppress(OSError):
            while not self.cluster.closed and at >= self.cluster.compacted:
                for event in self.cluster.events[at:]:
                    self.send(event)
                    at += 1
                time.sleep(0.02)
            self.end()

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def send(self, event: Any) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


def kubeconfig(folder: Path, address: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": address}}],
                "users": [{"name": "test", "user": {}}],
            }
        )
    )
    return path


@dataclass
class Api:
    """Joulegate's API as a plain model: keeps windows by number, and refuses to see one number with two contents."""

    windows: dict[str, dict[int, Any]] = field(default_factory=dict)
    devices: list[Any] = field(default_factory=list)
    conflicts: list[Any] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    forget_above: int | None = None
    status: int = 200
    lose_answers: int = 0
    refused_pods: set[str | None] = field(default_factory=set)
    """Pods whose windows break a rule; a request with one is refused as a whole."""
    refused_devices: set[str] = field(default_factory=set)
    withheld: set[int] = field(default_factory=set)
    answer: Any = None
    """What is answered to windows instead."""

    def rows(self) -> list[Any]:
        return [row for rows in self.windows.values() for row in rows.values()]

    def accepted(self, incarnation: str) -> int:
        known = {n for row in self.windows.get(incarnation, {}).values() for n in (row["window_seq"], *row["replaces"])}
        known |= self.withheld
        at = -1
        while at + 1 in known:
            at += 1
        return at

    def take(self, body: Any) -> Any:
        self.withheld.update(body.get("withheld", ()))
        rows = self.windows.setdefault(body["incarnation"], {})
        for row in body["windows"]:
            before = rows.setdefault(row["window_seq"], row)
            if before != row:
                self.conflicts.append((before, row))
        return {"accepted_seq": self.accepted(body["incarnation"]), "quarantined": []}

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[str]:
        api = self
        lock = threading.Lock()

        class Handler(_Answering):
            def do_POST(self) -> None:
                body = self.body()
                with lock:
                    api.tokens.add(self.headers.get("Authorization"))
                    if api.status != 200:
                        self.say(api.status, {"code": "unavailable", "detail": "told to"})
                    elif api.refused_pods & {row["pod_uid"] for row in body.get("windows", ())}:
                        self.say(422, {"code": "invalid_input", "detail": "told to"})
                    elif body.get("uuid") in api.refused_devices:
                        self.say(409, {"code": "conflict", "detail": "told to"})
                    elif self.path == "/v1/devices":
                        api.devices.append(body)
                        self.say(200, {})
                    else:
                        answer = api.take(body) if api.answer is None else api.answer
                        if api.lose_answers:
                            api.lose_answers -= 1
                            self.close_connection = True
                            self.connection.close()
                        else:
                            self.say(200, answer)

        with _served(Handler, port) as found:
            yield f"http://127.0.0.1:{found}"
