"""Admission's own port: TLS, certificates read again when they change, a client certificate where there is one.

The same process and the same decisions as the main port; what differs is who may ask.
The API server of a cluster has no token of ours, so anybody is answered: whoever proves to
be the API server (a certificate under a name of the list) or a principal (a token) without
a cap, everybody else under one (:mod:`joulegate_api.admission.trust`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, cast

import anyio.to_thread
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate_api import errors
from joulegate_api.admission.routes import answered, gated
from joulegate_api.auth import DECIDERS, Access, Principal, authenticate, bearer_of
from joulegate_api.bodies import RawBatch
from joulegate_api.context import Context, Parts
from joulegate_api.guard import Guard
from joulegate_api.logs import log
from joulegate_api.settings import Settings

RELOAD_S: Final = 1.0
"""How often certificates are looked at."""

_GRACE_S: Final = 10
_IDLE_S: Final = 75  # longer than an API server keeps a connection without using it
_PEER: Final = "peer"


class Certificates:
    """The TLS context of a server; what its files hold now is used for every new connection.

    While a file is being replaced and does not fit the other, the last good pair goes on.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the files; raises :class:`InvalidInputError` or :class:`UnavailableError`."""
        if settings.admission_certificate_file is None:
            raise InvalidInputError("JOULEGATE_ADMISSION_CERTIFICATE_FILE is needed for JOULEGATE_ADMISSION_PORT")
        self._certificate = settings.admission_certificate_file
        self._key = settings.admission_key_file
        self._authority = settings.admission_client_ca_file
        self._stamp = self._now()
        try:
            self.context = self._new()
        except OSError as error:  # SSLError is one
            raise UnavailableError(f"cannot use the certificate of admission: {error.strerror or error}") from error

    def refresh(self) -> bool:
        """Use what the files hold now; whether that is something new."""
        try:
            stamp = self._now()
            if stamp == self._stamp:
                return False
            self._new()  # a pair that does not fit must not reach the context in use
            self._load(self.context)
        except (OSError, UnavailableError) as error:
            log.error("the certificate of admission was not read again", cause=str(error))
            return False
        self._stamp = stamp
        return True

    def _new(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate, self._key)
        if self._authority is not None:
            context.load_verify_locations(self._authority)
            context.verify_mode = ssl.CERT_OPTIONAL

    def _now(self) -> tuple[tuple[int, int, int], ...]:
        files = [file for file in (self._certificate, self._key, self._authority) if file is not None]
        return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise UnavailableError(f"cannot read {file}: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


class _Tls(HttpToolsProtocol):
    """HTTP that knows whose certificate its connection has."""

    _peer: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the common name of a certificate that the TLS library has verified."""
        super().connection_made(transport)
        verified: dict[str, Any] = transport.get_extra_info("peercert") or {}
        names = [value for part in verified.get("subject", ()) for key, value in part if key == "commonName"]
        self._peer = names[0] if len(names) == 1 else None

    def on_message_begin(self) -> None:
        """Tell the application."""
        super().on_message_begin()
        self.scope["state"][_PEER] = self._peer


async def _caller(request: Request) -> Principal | None:
    """Who asks: the API server by its certificate, a principal by its token, else nobody that is known."""
    context = cast(Context, request.app.state.context)
    if getattr(request.state, _PEER, None) in context.settings.admission_clients:
        return Principal(request.state.peer, DECIDERS, (context.here,))
    header = request.headers.get("authorization")
    if (token := bearer_of(header)) is None:
        return None
    if context.accounts is not None:
        await context.accounts.prove(token)
    return authenticate(Access(DECIDERS), header, None, context.tokens, context.sessions, context.accounts)


Asking = Annotated[Principal | None, Depends(_caller)]


def create_listener(context: Context) -> FastAPI:
    """The application of the port: admission, and whether it answers."""
    app = FastAPI(title="Joulegate admission", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.context = context
    errors.install(app)

    @app.post("/v1/admission/validate")
    def validate(raw: RawBatch, parts: Parts, caller: Asking) -> JSONResponse:
        """Decide a review."""
        return answered(raw, parts, caller, proven=caller is not None)

    @app.post("/v1/admission/mutate")
    def mutate(raw: RawBatch, parts: Parts, caller: Asking) -> JSONResponse:
        """Gate what has to wait."""
        return gated(raw, parts, caller)

    @app.get("/healthz")
    async def healthz() -> PlainTextResponse:
        """Whether this port answers."""
        return PlainTextResponse("ok\n")

    app.add_middleware(Guard, settings=context.settings.model_copy(update={"host": context.settings.admission_host}))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    anyio.to_thread.current_default_thread_limiter().total_tokens = context.settings.concurrency
    yield


@contextmanager
def listening(context: Context, listen: Callable[[str, int], socket.socket]) -> Iterator[str | None]:
    """Serve admission in a thread of its own while the block runs; its address, None where the settings want none.

    A listener that ends by itself takes the process with it: half a service would look like a whole one.
    """
    settings = context.settings
    if settings.admission_port is None:
        yield None
        return
    certificates = Certificates(settings)
    config = uvicorn.Config(
        create_listener(context),
        http=_Tls,
        ssl_context_factory=lambda _config, _default: certificates.context,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_IDLE_S,
    )
    with closing(listen(settings.admission_host, settings.admission_port)) as taken:
        server, ended = uvicorn.Server(config), threading.Event()
        threads = [
            threading.Thread(target=server.run, kwargs={"sockets": [taken]}, name="admission"),
        ]
        threads.append(threading.Thread(target=_watch, args=(certificates, threads[0], ended), name="certificates"))
        for thread in threads:
            thread.start()
        try:
            address = f"https://{settings.admission_host}:{taken.getsockname()[1]}"
            log.info("admission listens", address=address)
            yield address
        finally:
            server.should_exit = True
            ended.set()
            for thread in threads:
                thread.join()


def _watch(certificates: Certificates, server: threading.Thread, ended: threading.Event) -> None:
    while not ended.wait(RELOAD_S):
        if not server.is_alive():
            log.error("admission has ended")
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if certificates.refresh():
            log.info("the certificate of admission was read again")
