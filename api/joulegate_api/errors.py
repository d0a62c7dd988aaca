"""Errors as problem documents (RFC 9457): one table from class to status, one shape, no traceback.

``code`` is stable and public. What went wrong inside is logged, never shown:
a client learns that it was not its fault, and nothing of paths, addresses or SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from joulegate.core.errors import (
    ConflictError,
    InvalidInputError,
    JoulegateError,
    NotFoundError,
    NotPermittedError,
    UnavailableError,
)
from joulegate.core.workloads import Unresolved
from joulegate_api.logs import log

STATUS: Final[Mapping[type[JoulegateError], int]] = {
    InvalidInputError: 422,
    Unresolved: 422,
    NotPermittedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    UnavailableError: 503,
}
"""The status of each error that somebody raises; the most specific class wins, any other is ours (500)."""

PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_CODES: Final = {404: "not_found", 405: "method_not_allowed"}
_LONGEST_DETAIL: Final = 1_000
_MOST_FAULTS: Final = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One place of a body that breaks a rule."""

    field: str
    message: str


class RefusedError(JoulegateError):
    """A request that HTTP itself, a body's form or a missing right refuses, with its status and code."""

    def __init__(self, status: int, code: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        """Keep the parts apart for the document."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.faults = tuple(faults)


def install(app: FastAPI) -> None:
    """Answer every error of the routes as a problem document."""
    app.add_exception_handler(JoulegateError, _on_joulegate_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)


def status_of(error: JoulegateError) -> int:
    """The status of an error, by the nearest class of the table."""
    if isinstance(error, RefusedError):
        return error.status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(status: int, code: str, detail: str, faults: Sequence[Fault] = ()) -> JSONResponse:
    """A problem document."""
    body: dict[str, Any] = {
        "type": f"urn:joulegate:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail[:_LONGEST_DETAIL],
    }
    if faults:
        body["errors"] = [{"field": fault.field, "message": fault.message} for fault in faults[:_MOST_FAULTS]]
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def internal(error: Exception, path: str) -> JSONResponse:
    """What a client sees of an error that nobody foresaw."""
    log.error("internal error", path=path, exc_info=error)
    return problem(500, "internal", "an error inside Joulegate; its log says more")


def document_of(error: JoulegateError, path: str) -> JSONResponse:
    """The problem document of an error that was foreseen."""
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal(error, path)
    if isinstance(error, UnavailableError):
        log.error("unavailable", path=path, cause=str(error))
        return problem(status, error.code, error.told)
    faults = error.faults if isinstance(error, RefusedError) else ()
    if isinstance(error, InvalidInputError) and error.field:
        faults = (Fault(error.field, error.message),)
    return problem(status, error.code, str(error), faults)


async def _on_joulegate_error(request: Request, error: Exception) -> JSONResponse:
    return document_of(error, request.url.path) if isinstance(error, JoulegateError) else internal(error, "")


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return internal(error, request.url.path)
    response = problem(error.status_code, _CODES.get(error.status_code, "http_error"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        return internal(error, request.url.path)
    faults = [Fault(".".join(str(part) for part in fault["loc"]), str(fault["msg"])) for fault in error.errors()]
    return problem(422, InvalidInputError.code, "a parameter is missing or wrong", faults)
