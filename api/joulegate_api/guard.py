"""What stands before every route: no answer without a shape, no page in a foreign frame, no foreign host name."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from joulegate.addresses import is_loopback
from joulegate_api.errors import internal, problem
from joulegate_api.settings import Settings

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
}
"""Of every answer. ``frame-ancestors 'self'``: a dashboard of the same origin (Kubeflow's) may show our pages."""


class Guard:
    """Middleware: whatever goes wrong behind it becomes a problem document without a word of the cause.

    A service that listens on loopback answers to names of loopback only, so that a
    page of another origin cannot reach it by a name that it controls (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Stand before ``app``."""
        self._app = app
        self._loopback_only = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if self._loopback_only and not is_loopback(_host(Headers(scope=scope).get("host", ""))):
            refusal = problem(421, "unknown_host", "this service answers to names of this machine only")
            await refusal(scope, receive, send_guarded)
            return
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            refusal = problem(400, "invalid_text", "an address holds no NUL")  # no database keeps one
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            response = internal(error, scope["path"])
            if started:
                raise
            await response(scope, receive, send_guarded)


def _host(header: str) -> str:
    """The host of a ``Host`` header without its port; an IPv6 address without its brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
