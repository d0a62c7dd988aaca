"""A small real HTTP server on loopback that answers as it is told, for tests of what talks to the API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Api:
    """What arrived, and what is answered next; ``plan`` is used up first, then 201."""

    address: str = ""
    plan: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    seen: list[tuple[str, str, str | None, Any]] = field(default_factory=list)

    def will(
        self,
        status: int,
        body: object = None,
        *,
        times: int = 1,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer the next ``times`` requests with this."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.plan += [(status, headers or {}, content)] * times

    def records(self) -> list[str]:
        """The ids of the records that arrived, in order, repeats and all."""
        return [body["record_id"] for _, path, _, body in self.seen if path == "/v1/records"]


@contextmanager
def serving(port: int = 0) -> Iterator[Api]:
    """Serve until the block ends."""
    api = Api()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(size)
            with lock:
                api.seen.append(
                    (
                        self.command,
                        self.path,
                        self.headers.get("Authorization"),
                        json.loads(content) if content else None,
                    )
                )
                status, headers, body = api.plan.pop(0) if api.plan else (201, {}, b"{}")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 -- the names of the base class

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    api.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
