"""Metrics and health of the node meter, over HTTP on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from joulegate.core.errors import UnavailableError

Sample = tuple[str, str, str, dict[str, str], float]
"""Name, kind, help, labels, value."""

Health = Callable[[], str | None]
"""None where all is well, else what is not."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def exposition(samples: Iterable[Sample]) -> str:
    """Prometheus' text format, version 0.0.4; samples of one name stand together."""
    lines: list[str] = []
    said: set[str] = set()
    for name, kind, text, labels, value in sorted(samples, key=lambda sample: sample[0]):
        if name not in said:
            said.add(name)
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        inner = ",".join(f'{key}="{label.translate(_ESCAPES)}"' for key, label in labels.items())
        shown = f"{value:.3f}".rstrip("0").rstrip(".")
        lines.append(f"{name}{{{inner}}} {shown}" if inner else f"{name} {shown}")
    return "\n".join(lines) + "\n"


class StatusServer:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz``."""

    def __init__(self, host: str, port: int, metrics: Callable[[], str], alive: Health, ready: Health) -> None:
        """Take the port; raises :class:`UnavailableError` where it cannot be had."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer."""
                if self.path == "/metrics":
                    self._say(200, metrics(), "text/plain; version=0.0.4; charset=utf-8")
                elif self.path in {"/healthz", "/readyz"}:
                    wrong = alive() if self.path == "/healthz" else ready()
                    self._say(503 if wrong else 200, (wrong or "ok") + "\n", "text/plain; charset=utf-8")
                else:
                    self._say(404, "not found\n", "text/plain; charset=utf-8")

            def _say(self, status: int, text: str, kind: str) -> None:
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise UnavailableError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="joulegate status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let go of the port."""
        self._server.shutdown()
        self._server.server_close()
