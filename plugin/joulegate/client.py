"""Talks to Joulegate's API with the standard library, and keeps what could not be sent.

Every body has an id made by its sender, so a repeat changes nothing: what is
not known to have arrived is sent again. :class:`Client` retries for a bounded
time; :class:`Spool` keeps records on disk until the API has acknowledged them.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import joulegate
from joulegate.addresses import is_loopback
from joulegate.core.errors import JoulegateError, UnavailableError
from joulegate.home import home, read_private

TOO_MANY: Final = 429
_TRY_AGAIN: Final = frozenset({408, 425, TOO_MANY, 500, 502, 503, 504})
# The content is well and the request was not let through: a token, an address or a role has to be put right.
_NOT_THE_CONTENTS_FAULT: Final = frozenset({401, 403, 404, 405, 407, 408, 425, TOO_MANY})
_CLIENT_ERRORS: Final = range(400, 500)
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_LONGEST_FOREIGN_TEXT: Final = 256


class ApiError(JoulegateError):
    """The API answered with an error: ``status``, the stable ``code`` of its problem document, ``detail``.

    ``problem`` is the whole problem document (RFC 9457), empty where the answer was not one.
    """

    def __init__(self, status: int, code: str, detail: str, problem: Mapping[str, Any] | None = None) -> None:
        """Keep the parts apart from the sentence."""
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.problem = dict(problem or {})

    @property
    def refuses_content(self) -> bool:
        """Whether the same body would be refused again, however often and by whomever it is sent."""
        return self.status in _CLIENT_ERRORS and self.status not in _NOT_THE_CONTENTS_FAULT


@dataclass(frozen=True, slots=True)
class Client:
    """Calls one API. ``timeout_s`` bounds each wait of one attempt, ``retry_s`` the time in which further ones begin.

    Proxies of the environment are used, but never for a loopback address.
    Redirects are not followed: the token goes to the address and nowhere else.
    """

    address: str
    token: str | None = None
    timeout_s: float = 30.0
    retry_s: float = 3.0

    @classmethod
    def from_home(
        cls, environment: Mapping[str, str] | None = None, *, timeout_s: float = 30.0, retry_s: float = 3.0
    ) -> Client:
        """The client of ``$JOULEGATE_ADDRESS`` and ``$JOULEGATE_TOKEN(_FILE)``, else of what ``joulegate up`` wrote.

        The token in the home folder is only ever sent to the address beside it.
        Raises :class:`UnavailableError` where no address is known.
        """
        values = os.environ if environment is None else environment
        address, token = values.get("JOULEGATE_ADDRESS"), values.get("JOULEGATE_TOKEN")
        if token is None and (file := values.get("JOULEGATE_TOKEN_FILE")):
            token = read_private(Path(file))
            if token is None:
                raise UnavailableError(f"the file {file} of JOULEGATE_TOKEN_FILE does not exist")
        if address is None or token is None:
            try:
                written, beside = (read_private(home(values) / name) for name in ("address", "token"))
            except UnavailableError:
                if address is None:
                    raise
                written, beside = None, None  # a pod need not have a home; it was told the address
            address = address or written
            token = beside if token is None and address == written else token
        if not address:
            raise UnavailableError(
                "no API is known: start one with `joulegate up`, or set JOULEGATE_ADDRESS and JOULEGATE_TOKEN"
            )
        return cls(address, token, timeout_s, retry_s)

    def get(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        """Get ``path`` (from ``/``, with its query) and parse the JSON that comes."""
        return _parsed(self.read(path))

    def put(self, path: str, body: object) -> Any:  # noqa: ANN401 -- JSON
        """Put ``body`` as JSON."""
        return _parsed(self._ask("PUT", path, body, repeatable=True))

    def post(self, path: str, body: object, *, repeatable: bool = False) -> Any:  # noqa: ANN401 -- JSON
        """Post ``body`` as JSON. ``repeatable``: the body has an id of its own and may be sent again after a doubt."""
        return _parsed(self._ask("POST", path, body, repeatable=repeatable))

    def delete(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        """Delete ``path``."""
        return _parsed(self._ask("DELETE", path, None, repeatable=True))

    def read(self, path: str) -> bytes:
        """Get ``path`` as it comes: a report, or anything else that is not JSON."""
        return self._ask("GET", path, None, repeatable=True)

    def _ask(self, method: str, path: str, body: object, *, repeatable: bool) -> bytes:
        request = self._request(method, path, body)
        opener = opener_for(self.address)
        until = time.monotonic() + self.retry_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                with opener.open(request, timeout=self.timeout_s) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as answer:
                error: JoulegateError = _api_error(answer)
                again = answer.code == TOO_MANY or (repeatable and answer.code in _TRY_AGAIN)
                asked_pause = _seconds(answer.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as cause:
                error = UnavailableError(f"no answer from {self.address}: {_reason(cause)}")
                again = repeatable or isinstance(getattr(cause, "reason", cause), ConnectionRefusedError)
                asked_pause = 0.0
            wait = max(asked_pause, pause * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads retries, keeps no secret
            if not again or time.monotonic() + wait > until:
                raise error
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _request(self, method: str, path: str, body: object) -> urllib.request.Request:
        parts = urllib.parse.urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnavailableError(f"{self.address!r} is not an address such as http://127.0.0.1:8080")
        headers = {"Accept": "application/json", "User-Agent": f"joulegate/{joulegate.__version__}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
        url = self.address.rstrip("/") + path
        return urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 -- scheme checked above


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow nothing; the answer is then an error with its own status."""


def opener_for(address: str) -> urllib.request.OpenerDirector:
    """What opens an address: it follows no redirect, and asks no proxy about this machine."""
    direct = is_loopback(urllib.parse.urlsplit(address).hostname or "")
    proxies = urllib.request.ProxyHandler({} if direct else None)
    return urllib.request.build_opener(proxies, _NoRedirects)


def _parsed(content: bytes) -> Any:  # noqa: ANN401 -- JSON
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise UnavailableError(f"the answer is not JSON: {content[:60]!r}") from error


def _api_error(answer: urllib.error.HTTPError) -> ApiError:
    try:
        problem = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        problem = None
    finally:
        answer.close()
    if not isinstance(problem, dict):
        return ApiError(answer.code, "not_a_problem", str(answer.reason)[:_LONGEST_FOREIGN_TEXT])
    detail = problem.get("detail") or problem.get("title") or answer.reason
    return ApiError(answer.code, str(problem.get("code", "not_a_problem")), str(detail), problem)


def _reason(cause: BaseException) -> str:
    reason = getattr(cause, "reason", cause)
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)[:_LONGEST_FOREIGN_TEXT]


def _seconds(text: str | None) -> float:
    # Retry-After may also be a date; our API sends seconds.
    return float(text) if text and text.isdigit() else 0.0
