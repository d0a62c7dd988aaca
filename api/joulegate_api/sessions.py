"""Sessions of the pages: a link that opens once, and the cookie that it sets."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse

from joulegate_api.auth import SESSION_COOKIE, SESSION_S
from joulegate_api.context import Caller, Parts, answer
from joulegate_api.errors import RefusedError

router = APIRouter(tags=["sessions"])


@router.post("/v1/sessions")
def make_link(parts: Parts, caller: Caller) -> JSONResponse:
    """Make a link that opens the pages once, for whoever's token this is."""
    return answer({"path": login_path(parts.sessions.link(caller))}, HTTPStatus.CREATED)


@router.get("/login")
async def open_session(request: Request, parts: Parts, key: Annotated[str, Query(max_length=128)]) -> RedirectResponse:
    """Set the cookie of a session for a key that was never used, and go to the first page."""
    session = parts.sessions.redeem(key)
    if session is None:
        raise RefusedError(
            HTTPStatus.UNAUTHORIZED,
            "link_used",
            "this link was used, is too old, or is of an earlier start; "
            "`joulegate up` prints one, and POST /v1/sessions makes one",
        )
    response = RedirectResponse(request.scope.get("root_path", "") + "/", HTTPStatus.SEE_OTHER)
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path=request.scope.get("root_path", "") or "/",
    )
    return response


def login_path(key: str) -> str:
    """The path of a link."""
    return f"/login?key={key}"
