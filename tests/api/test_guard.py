"""What stands before every route: names of this machine only, and headers on every answer."""

import pytest

from joulegate_api.guard import HEADERS
from tests.api.running import Service


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "[::1]:8765", "[::1]", "app.localhost"])
def test_names_of_this_machine_are_answered(sqlite_service: Service, host: str) -> None:
    assert sqlite_service.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[", "10.0.0.1"]
)
def test_another_name_is_not(sqlite_service: Service, host: str) -> None:
    refused = sqlite_service.get("/healthz", headers={"Host": host})
    assert (refused.status_code, refused.json()["code"]) == (421, "unknown_host")


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/v1/budgets", "/v1/records?limit=no", "/"])
def test_every_answer_is_kept_from_frames_scripts_and_guesses(sqlite_service: Service, path: str) -> None:
    for by in ("admin", None):
        answered = sqlite_service.get(path, by=by)
        assert {name: answered.headers[name] for name in HEADERS} == HEADERS


def test_answers_with_figures_are_not_kept_by_caches(sqlite_service: Service) -> None:
    assert sqlite_service.get("/v1/budgets").headers["cache-control"] == "no-store"
