"""The application: every route, what stands before them, and how they are described."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic.json_schema import GenerateJsonSchema

import joulegate
from joulegate_api import (
    budgets,
    changes,
    comparisons,
    devices,
    errors,
    exceptions,
    holds,
    inventories,
    ledger,
    log,
    market,
    metrics,
    predictions,
    rates,
    records,
    sessions,
    statements,
    windows,
)
from joulegate_api.accounts import Accounts
from joulegate_api.admission import routes as admission
from joulegate_api.auth import Tokens
from joulegate_api.bodies import SCHEMAS, Body
from joulegate_api.cluster import open_cluster
from joulegate_api.context import Context, Parts, authorize
from joulegate_api.dashboard import pages
from joulegate_api.guard import Guard
from joulegate_api.history import History
from joulegate_api.reports import routes as reports
from joulegate_api.settings import Settings
from joulegate_api.store import Store

BODIES: Final[tuple[Body[Any], ...]] = (
    records.RECORD,
    windows.WINDOWS,
    devices.ENROLMENT,
    rates.FACTORS,
    rates.PRICES,
    rates.SITES,
    rates.INSTRUMENTS,
    comparisons.COMPARISON,
    reports.REPORT,
    holds.REQUEST,
    holds.STEP,
    holds.RELEASE,
    inventories.ADOPTION,
    inventories.INVENTORY,
    exceptions.APPROVAL,
    changes.DECISION,
    ledger.CLOSE,
    ledger.REPRICING,
)
_PROBLEM: Final = {
    "description": "A problem document (RFC 9457) with a stable `code`.",
    "content": {"application/problem+json": {"schema": {"$ref": SCHEMAS + "Problem"}}},
}
_ROUTERS: Final = (
    records.router,
    windows.router,
    devices.router,
    budgets.router,
    statements.router,
    changes.router,
    ledger.router,
    exceptions.router,
    holds.router,
    inventories.router,
    rates.router,
    market.router,
    predictions.router,
    comparisons.router,
    admission.router,
    reports.router,
    log.router,
    sessions.router,
)


def create_app(settings: Settings, store: Store) -> FastAPI:
    """The service over an open store. Reads the tokens file; opens nothing else."""
    app = FastAPI(
        title="Joulegate",
        version=joulegate.__version__,
        dependencies=[Depends(authorize)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
    )
    cluster = open_cluster(settings)
    app.state.context = Context(
        settings,
        store,
        Tokens(settings.tokens_path),
        History(store),
        cluster=cluster,
        accounts=None if cluster is None else Accounts(cluster, settings),
    )
    errors.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    _add_own_routes(app)
    pages.mount(app)
    app.add_middleware(Guard, settings=settings)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Decisions that arrive together share one commit, so they must be let in together.
    context: Context = app.state.context
    anyio.to_thread.current_default_thread_limiter().total_tokens = context.settings.concurrency
    yield
    if context.cluster is not None:
        context.cluster.close()


def _add_own_routes(app: FastAPI) -> None:
    @app.get("/healthz", tags=["service"])
    async def healthz() -> PlainTextResponse:
        """Whether this process answers."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", tags=["service"])
    def readyz(parts: Parts) -> PlainTextResponse:
        """Whether the database answers too; 503 where it does not."""
        parts.store.ping()
        return PlainTextResponse("ok\n")

    @app.get("/metrics", tags=["service"])
    def metrics_text(parts: Parts) -> PlainTextResponse:
        """Counters of this replica; from the one that leads also every balance, the month's sums, holds and the log."""
        text = parts.metrics.text(_ledger(parts), read_only=parts.keeper.read_only)
        return PlainTextResponse(text, media_type=metrics.CONTENT_TYPE)

    @app.get("/openapi.json", include_in_schema=False)
    def openapi_json() -> JSONResponse:
        return JSONResponse(_described(app))


def _ledger(parts: Context) -> metrics.LedgerState | None:
    """The gauges of the whole ledger; None where another replica tells them."""
    if not parts.store.sequencer.leads():
        return None
    balances = ((found.budget.name, list(found.balances.values())) for found in parts.store.budgets.current())
    return metrics.LedgerState(balances, parts.store.overviews.now(), parts.keeper.state())


def _described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        description: dict[str, Any] = get_openapi(title=app.title, version=app.version, routes=app.routes)
        generator = GenerateJsonSchema(ref_template=SCHEMAS + "{model}")
        _, definitions = generator.generate_definitions(
            [(index, "validation", body.adapter.core_schema) for index, body in enumerate(BODIES)]
        )
        description.setdefault("components", {}).setdefault("schemas", {}).update(definitions)
        description["components"]["schemas"]["Problem"] = errors.PROBLEM_SCHEMA
        for operation in (operation for path in description["paths"].values() for operation in path.values()):
            operation["responses"].pop("422", None)  # FastAPI's own form of errors, which is never sent
            operation["responses"]["default"] = _PROBLEM
        description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"token": []}]
        app.openapi_schema = description
    return app.openapi_schema
