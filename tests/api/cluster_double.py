"""A stand-in for the cluster's API: objects by path, whose tokens are whose, and who may do what."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from joulegate_api.cluster import NODE_CLAIM, Identity

METER = "system:serviceaccount:joulegate-system:joulegate-node"


@dataclass
class FakeCluster:
    """What the stand-in knows, and what it was asked; change it at any time."""

    objects: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, tuple[Identity, tuple[str, ...]]] = field(default_factory=dict)
    """Each token's owner and audiences."""
    rights: set[tuple[str, str, str, str]] = field(default_factory=set)
    """User, verb, resource and name of what is allowed."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    proofs: list[str | None] = field(default_factory=list)
    """The Authorization header of each question."""
    status: int = 200
    raw: bytes | None = None
    """What is answered instead, whatever was asked."""
    slow_s: float = 0.0
    close_after_answer: bool = False

    def issue(self, token: str, username: str = METER, node: str | None = "node-1", audience: str = "joulegate") -> str:
        """A token of the cluster, bound to a pod on `node`."""
        extra = {NODE_CLAIM: (node,)} if node else {}
        self.tokens[token] = (Identity(username, f"uid-of-{username}", ("system:authenticated",), extra), (audience,))
        return token

    def count(self, ending: str) -> int:
        return sum(path.endswith(ending) for _, path in self.asked)

    def review(self, spec: Any) -> Any:
        found = self.tokens.get(spec["token"])
        common = sorted(set(found[1]) & set(spec["audiences"])) if found else []
        if found is None or not common:
            return {"error": "the token is not known"}
        who = found[0]
        user = {
            "username": who.username,
            "uid": who.uid,
            "groups": list(who.groups),
            "extra": {key: list(values) for key, values in who.extra.items()},
        }
        return {"authenticated": True, "user": user, "audiences": common}

    def access(self, spec: Any) -> Any:
        what = spec["resourceAttributes"]
        return {"allowed": (spec["user"], what["verb"], what["resource"], what.get("name", "")) in self.rights}

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address, for as long as it is served."""
        handler = type("Answering", (_Answering,), {"cluster": self})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Answering(BaseHTTPRequestHandler):
    cluster: FakeCluster
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.note()
        found = self.cluster.objects.get(path)
        self.say(404 if found is None else 200, {"message": f"{path} not found"} if found is None else found)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.note()
        self.cluster.bodies.append(body)
        answers = {"TokenReview": self.cluster.review, "SubjectAccessReview": self.cluster.access}
        self.say(201, {**body, "status": answers[body["kind"]](body["spec"])})

    def note(self) -> None:
        self.cluster.asked.append((self.command, self.path))
        self.cluster.proofs.append(self.headers.get("Authorization"))

    def say(self, status: int, body: Any) -> None:
        time.sleep(self.cluster.slow_s)
        if self.cluster.status != 200:
            status, body = self.cluster.status, {"message": "told to refuse"}
        content = json.dumps(body).encode() if self.cluster.raw is None else self.cluster.raw
        with suppress(OSError):  # who asked may have gone
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        self.close_connection = self.cluster.close_after_answer  # without a word: the client finds out next time

    def log_message(self, *_: object) -> None:
        pass
