"""The application as a whole: it says that it lives, and describes itself."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from joulegate.core.errors import UnavailableError
from joulegate_api.auth import ACCESS
from tests.api.running import FACTORS, PRICES, SITES, Service, record


def test_health_needs_no_token_and_no_database(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise UnavailableError("down")

    assert sqlite_service.get("/readyz", by=None).status_code == 200
    monkeypatch.setattr(sqlite_service.store, "ping", down)
    assert sqlite_service.get("/healthz", by=None).status_code == 200
    refused = sqlite_service.get("/readyz", by=None)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


def description(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/openapi.json").json()
    return found


def test_every_route_of_the_api_is_described(sqlite_service: Service) -> None:
    paths = description(sqlite_service)["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    pages = {route for route, access in ACCESS.items() if access.page and not route[1].startswith("/v1/")}
    assert described == set(ACCESS) - pages - {("GET", "/openapi.json")}


def test_every_body_has_a_schema_and_every_error_is_a_problem(sqlite_service: Service) -> None:
    found = description(sqlite_service)
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            problem = operation["responses"]["default"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
            takes_body = method in {"post", "put"} and path != "/v1/sessions"
            assert ("requestBody" in operation) == takes_body, f"{method} {path}"


def pointers(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(pointers(part) for part in value.values()))
    return set().union(*(pointers(item) for item in value)) if isinstance(value, list) else set()


def test_every_reference_leads_to_a_schema(sqlite_service: Service) -> None:
    found = description(sqlite_service)
    known = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert pointers(found) <= known


@pytest.mark.parametrize(
    ("name", "good"),
    [("RecordBody", record()), ("FactorsBody", FACTORS), ("PricesBody", PRICES), ("SitesBody", SITES)],
)
def test_what_the_schemas_take_is_what_the_routes_take(
    sqlite_service: Service, name: str, good: dict[str, Any]
) -> None:
    components = description(sqlite_service)["components"]
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    validator = Draft202012Validator(schema)
    assert validator.is_valid(good)
    assert not validator.is_valid(good | {"unknown": 1})
    assert not validator.is_valid({})
