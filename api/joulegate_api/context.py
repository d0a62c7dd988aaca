"""What every route is given: the service's parts, who is asking, and answers as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from joulegate.tokens import Grant, Role
from joulegate.wire import to_json
from joulegate_api.accounts import Accounts
from joulegate_api.admission.lookups import Nodes
from joulegate_api.auth import (
    ACCESS,
    BY_CLUSTER,
    SESSION_COOKIE,
    Access,
    Principal,
    Sessions,
    Tokens,
    authenticate,
    bearer_of,
)
from joulegate_api.cluster import Cluster
from joulegate_api.errors import RefusedError
from joulegate_api.history import History
from joulegate_api.log_keeper import LogKeeper
from joulegate_api.metrics import Metrics
from joulegate_api.settings import ClusterMode, Settings
from joulegate_api.store import Store

REGISTERED: Final = timedelta(minutes=15)
"""How long after it reported an operator counts as being there, where its cluster does not always have one."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running service."""

    settings: Settings
    store: Store
    tokens: Tokens
    history: History
    sessions: Sessions = field(default_factory=Sessions)
    metrics: Metrics = field(default_factory=Metrics)
    cluster: Cluster | None = None
    accounts: Accounts | None = None
    compared: dict[tuple[str, str], str] = field(default_factory=dict)
    """By which budgets the holds of a cluster's kind were compared last, as a hash."""
    keeper: LogKeeper = field(init=False)
    nodes: Nodes | None = field(init=False)

    def __post_init__(self) -> None:
        """The keeper of the log is a part of every service; it reads keys and anchors when it needs them."""
        object.__setattr__(self, "keeper", LogKeeper(self.settings, self.store))
        object.__setattr__(self, "nodes", None if self.cluster is None else Nodes(self.cluster))

    @property
    def here(self) -> Grant:
        """The cluster and the site that are meant where none is named."""
        return Grant("*", self.settings.cluster, self.settings.site)

    def now(self) -> datetime:
        """The wall clock of this process, for what is asked; decisions are dated by the database."""
        return datetime.now(UTC)

    def is_attended(self, cluster: str) -> bool:
        """Whether an operator is registered for a cluster: it was there of late, or ever where one is required."""
        heard = self.store.inventories.last_report(cluster), self.store.adoptions.last_seen(cluster)
        last = max((at for at in heard if at is not None), default=None)
        if last is None:
            return False
        return self.settings.cluster_mode is ClusterMode.MANAGED or self.now() - last < REGISTERED


def context_of(request: Request) -> Context:
    """The parts of the service that a request came to."""
    return cast(Context, request.app.state.context)


async def authorize(request: Request) -> None:
    """Let a request pass to its route, or refuse it before its body is read."""
    path = getattr(request.scope.get("route"), "path", "")
    access = access_of(request.method, path)
    context = context_of(request)
    header = request.headers.get("authorization")
    if access.roles and context.accounts is not None and (token := bearer_of(header)) is not None:
        await context.accounts.prove(token)
    request.state.principal = principal = authenticate(
        access,
        header,
        request.cookies.get(SESSION_COOKIE),
        context.tokens,
        context.sessions,
        context.accounts,
    )
    is_operator = principal is not None and Role.OPERATOR in principal.roles
    if (request.method, path) in BY_CLUSTER and not is_operator and context.cluster is not None:
        await anyio.to_thread.run_sync(_refuse_managed, context)


def _refuse_managed(context: Context) -> None:
    """Raise :class:`RefusedError` (409) where a cluster's operator brings budgets, exceptions and rates."""
    if context.is_attended(context.settings.cluster):
        detail = f"the objects of cluster {context.settings.cluster} are the only source here: change them with kubectl"
        raise RefusedError(HTTPStatus.CONFLICT, "managed_by_cluster", detail)


def access_of(method: str, path: str) -> Access:
    """The row of a route; a route that the table lacks is open to nobody."""
    found = ACCESS.get(("GET" if method == "HEAD" else method, path))
    if found is None:
        message = f"{method} {path} is not in the table of access"
        raise LookupError(message)
    return found


def caller_of(request: Request) -> Principal:
    """Who is asking."""
    return cast(Principal, request.state.principal)


async def _parts(request: Request) -> Context:
    return context_of(request)  # not in a thread, as FastAPI would call a plain function


async def _caller(request: Request) -> Principal:
    return caller_of(request)


Parts = Annotated[Context, Depends(_parts)]
Caller = Annotated[Principal, Depends(_caller)]


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A value as JSON, quantities as decimal strings."""
    return JSONResponse(to_json(value), status, dict(headers or {}))


def takes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What ``/openapi.json`` says of a route's body, which FastAPI does not see: our own reader takes it."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": dict(schema)}}}}
