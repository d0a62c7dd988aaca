"""Errors as problem documents: one shape, a stable code, and nothing of what went wrong inside."""

import pytest

from joulegate.core.errors import (
    ConflictError,
    InvalidInputError,
    JoulegateError,
    NotFoundError,
    NotPermittedError,
    UnavailableError,
)
from joulegate.core.workloads import Unresolved
from joulegate_api.errors import RefusedError, status_of
from tests.api.running import Service, record

SECRET = "/var/secret/joulegate.db SELECT password"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("x", "field"), 422),
        (Unresolved("x"), 422),
        (NotPermittedError("x"), 403),
        (NotFoundError("x"), 404),
        (ConflictError("x"), 409),
        (UnavailableError("x"), 503),
        (RefusedError(418, "teapot", "x"), 418),
        (JoulegateError("x"), 500),
    ],
)
def test_a_class_of_errors_has_a_status(error: JoulegateError, status: int) -> None:
    assert status_of(error) == status


def test_a_subclass_has_the_status_of_the_nearest_class_in_the_table() -> None:
    class FinerError(ConflictError):
        pass

    assert status_of(FinerError("x")) == 409


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError(SECRET), 500, "internal"),
        (JoulegateError(SECRET), 500, "internal"),
        (UnavailableError(SECRET), 503, "unavailable"),
        (RecursionError(SECRET), 500, "internal"),
        (UnicodeEncodeError("utf-8", SECRET, 0, 1, SECRET), 500, "internal"),
    ],
)
def test_what_went_wrong_inside_is_not_shown(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sqlite_service.store.records, "accept", fail)
    answered = sqlite_service.post("/v1/records", record())
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert answered.headers["content-type"] == "application/problem+json"
    assert "secret" not in answered.text
    assert "password" not in answered.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/records/none", 404, "not_found"),
        ("GET", "/v1/runs/none", 404, "not_found"),
        ("GET", "/v1/budgets/none", 404, "not_found"),
        ("GET", "/v1/budgets/none/balance", 404, "not_found"),
        ("DELETE", "/v1/budgets/none", 404, "not_found"),
        ("PATCH", "/v1/records", 405, "method_not_allowed"),
        ("GET", "/v1/records/%00", 400, "invalid_text"),
        ("GET", "/?namespace=%00", 400, "invalid_text"),
        ("GET", "/v1/budgets/%F0%9F%98%80", 404, "not_found"),
        ("GET", "/v1/runs/" + "x" * 5_000, 404, "not_found"),
        ("GET", "/v1/budgets/..%2F..", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_a_problem_document_too(
    service: Service, method: str, path: str, status: int, code: str
) -> None:
    answered = service.call(method, path)
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert set(answered.json()) >= {"type", "title", "status", "code", "detail"}
    assert answered.headers["content-type"] == "application/problem+json"
