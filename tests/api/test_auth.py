"""Who may do what: one table, complete; a token for each principal; cookies open pages only."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from joulegate.core.errors import InvalidInputError, NotPermittedError, UnavailableError
from joulegate.tokens import EVERYTHING, Grant, Role, format_row, hash_of
from joulegate_api.auth import (
    ACCESS,
    LINK_S,
    SESSION_COOKIE,
    SESSION_S,
    Access,
    Principal,
    Sessions,
    Tokens,
    authenticate,
    bearer_of,
)
from joulegate_api.errors import RefusedError
from tests.api.running import Service, budget, principal, record, token_of

HERE = Grant("*", "local", "default")
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/login")}


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and path of every route; FastAPI keeps a router that was included as one route, without prefix here."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods or ())
        else:
            yield from routes_of(getattr(getattr(route, "original_router", None), "routes", ()))


def test_the_table_names_every_route_and_no_other(sqlite_service: Service) -> None:
    assert set(ACCESS) == set(routes_of(sqlite_service.app.routes))


def test_few_routes_are_open_to_anybody() -> None:
    assert {route for route, access in ACCESS.items() if not access.roles} == OPEN


def test_a_session_opens_no_route_that_changes_something() -> None:
    assert {method for (method, _), access in ACCESS.items() if access.page} <= {"GET"}


GUARDED = [(method, path.replace("{", "").replace("}", "")) for method, path in sorted(set(ACCESS) - OPEN)]
ROLES_OF = dict(zip(GUARDED, (ACCESS[route].roles for route in sorted(set(ACCESS) - OPEN)), strict=True))


@pytest.mark.parametrize("by", [None, "nobody"])
def test_a_route_asks_for_a_token_before_anything_else(sqlite_service: Service, by: str | None) -> None:
    for method, path in GUARDED:
        refused = sqlite_service.call(method, path, b"{", by=by)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        assert refused.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", Role)
def test_a_role_opens_the_routes_of_its_row(sqlite_service: Service, role: Role) -> None:
    for (method, path), roles in ROLES_OF.items():
        answered = sqlite_service.call(method, path, b"{" if method in {"POST", "PUT"} else None, by=role.value)
        assert (answered.status_code == 403) == (role not in roles), f"{method} {path}"


def test_who_measures_or_edits_factors_does_not_move_limits(sqlite_service: Service) -> None:
    for role in (Role.READER, Role.MEMBER, Role.EDITOR, Role.METER, Role.AUDITOR, Role.APPROVER):
        assert sqlite_service.put("/v1/budgets/vision", budget(), by=role.value).status_code == 403


def test_a_revoked_token_ends_at_once_and_a_new_one_begins(sqlite_service: Service) -> None:
    file = sqlite_service.settings.tokens_path
    rows = file.read_text()
    file.write_text(format_row(principal("late", Role.READER)) + "\n")
    assert sqlite_service.get("/v1/budgets", by="admin").status_code == 401
    assert sqlite_service.get("/v1/budgets", by="late").status_code == 200
    file.write_text(rows)
    assert sqlite_service.get("/v1/budgets", by="admin").status_code == 200


def test_a_broken_tokens_file_lets_nobody_in_and_says_nothing_of_it(sqlite_service: Service) -> None:
    sqlite_service.settings.tokens_path.write_text("not a row of it\n")
    refused = sqlite_service.get("/v1/budgets")
    assert refused.status_code == 503
    assert "tokens" not in refused.text


def test_tokens_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot read"):
        Tokens(tmp_path / "none")
    (tmp_path / "bad").write_text("x\n")
    with pytest.raises(UnavailableError, match=r"bad:1") as raised:
        Tokens(tmp_path / "bad")
    assert isinstance(raised.value.__cause__, InvalidInputError)


@pytest.mark.parametrize(
    ("grant", "namespace", "cluster", "site", "reached"),
    [
        (EVERYTHING, "any", "any", "any", True),
        (Grant("vision"), "vision", "local", "default", True),
        (Grant("vision"), "vision", "local", None, True),
        (Grant("vision"), "speech", "local", None, False),
        (Grant("vision"), "vision", "other", None, False),
        (Grant("vision"), "vision", "local", "berlin", False),
        (Grant("*"), "speech", "local", "default", True),
        (Grant("*"), "speech", "other", "default", False),
        (Grant("vision", "other", "berlin"), "vision", "other", "berlin", True),
        (Grant("vision", "other", "berlin"), "vision", "local", "default", False),
    ],
)
def test_a_grant_reaches_its_place_and_no_other(
    grant: Grant, namespace: str, cluster: str, site: str | None, *, reached: bool
) -> None:
    somebody = Principal("somebody", frozenset(), (grant,))
    assert somebody.reaches(namespace, cluster, site, HERE) is reached
    if not reached:
        with pytest.raises(NotPermittedError):
            somebody.require(namespace, cluster, site, HERE)


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer ", "token"])
def test_what_is_no_bearer_token_proves_nobody(header: str | None) -> None:
    assert bearer_of(header) is None


class Watch:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


SOMEBODY = Principal("somebody", frozenset({Role.READER}), (EVERYTHING,))


def test_a_link_opens_one_session_once() -> None:
    sessions = Sessions()
    key = sessions.link(SOMEBODY)
    session = sessions.redeem(key)
    assert session is not None
    assert sessions.principal(session) == SOMEBODY
    assert sessions.redeem(key) is None
    assert sessions.principal(key) is None


def test_links_and_sessions_end() -> None:
    watch = Watch()
    sessions = Sessions(watch)
    late = sessions.link(SOMEBODY)
    session = sessions.redeem(sessions.link(SOMEBODY))
    watch.now = LINK_S + 1
    assert sessions.redeem(late) is None
    assert session is not None
    assert sessions.principal(session) is not None
    watch.now = SESSION_S + 1
    assert sessions.principal(session) is None


def test_a_cookie_opens_pages_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(format_row(principal("reader", Role.READER)) + "\n")
    tokens, sessions = Tokens(file), Sessions()
    session = sessions.redeem(sessions.link(SOMEBODY))
    page, api = Access(frozenset({Role.READER}), page=True), Access(frozenset({Role.READER}))
    assert authenticate(page, None, session, tokens, sessions) == SOMEBODY
    with pytest.raises(RefusedError):
        authenticate(api, None, session, tokens, sessions)
    with pytest.raises(RefusedError):  # who sends a token is asked for that token
        authenticate(page, "Bearer wrong", session, tokens, sessions)
    proved = authenticate(api, f"Bearer {token_of('reader')}", None, tokens, sessions)
    assert proved is not None
    assert proved.name == "reader"


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(sqlite_service: Service) -> None:
    path = sqlite_service.post("/v1/sessions", None).json()["path"]
    opened = sqlite_service.get(path, by=None, follow_redirects=False)
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert sqlite_service.get("/v1/budgets", by=None).status_code == 401  # the client now has the cookie
    again = sqlite_service.get(path, by=None, follow_redirects=False)
    assert (again.status_code, again.json()["code"]) == (401, "link_used")


def test_a_token_is_kept_nowhere_as_it_is(sqlite_service: Service) -> None:
    assert token_of("admin") not in sqlite_service.settings.tokens_path.read_text()
    assert hash_of(token_of("admin")) in sqlite_service.settings.tokens_path.read_text()
    sqlite_service.post("/v1/records", record())
    assert token_of("admin") not in sqlite_service.get("/v1/records/r1").text
