"""Who is asking, and what that principal may do: one table from route to roles.

A token proves a principal by the rows of ``JOULEGATE_TOKENS_FILE``; every row is
compared, in constant time, so that an answer's time tells nothing. Pages take a
session cookie instead, which is got once by the link that ``joulegate up`` prints.
A cookie never opens a route that changes something.
"""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from joulegate.core.errors import InvalidInputError, NotPermittedError, UnavailableError
from joulegate.home import read_private
from joulegate.tokens import Grant, Role, TokenRow, hash_of, read_rows
from joulegate_api.errors import RefusedError

ANYBODY: Final[frozenset[Role]] = frozenset()
EVERY_ROLE: Final = frozenset(Role)
READERS: Final = EVERY_ROLE - {Role.METER}
WRITERS: Final = frozenset({Role.MEMBER, Role.METER, Role.OPERATOR, Role.ADMIN})
DECIDERS: Final = frozenset({Role.MEMBER, Role.OPERATOR, Role.ADMIN})
OWNERS: Final = frozenset({Role.BUDGET_OWNER, Role.OPERATOR, Role.ADMIN})
EDITORS: Final = frozenset({Role.EDITOR, Role.OPERATOR, Role.ADMIN})
OPERATORS: Final = frozenset({Role.OPERATOR, Role.ADMIN})
REQUESTERS: Final = frozenset({Role.MEMBER, Role.BUDGET_OWNER, Role.APPROVER, Role.OPERATOR, Role.ADMIN})
APPROVERS: Final = frozenset({Role.APPROVER, Role.OPERATOR, Role.ADMIN})
CHECKERS: Final = OWNERS | EDITORS | APPROVERS
METERS: Final = frozenset({Role.METER})
AUDITORS: Final = frozenset({Role.AUDITOR, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Access:
    """Which roles open a route; ``page`` routes take a session cookie too. No role at all: open to anybody."""

    roles: frozenset[Role]
    page: bool = False


ACCESS: Final[Mapping[tuple[str, str], Access]] = {
    ("GET", "/healthz"): Access(ANYBODY),
    ("GET", "/readyz"): Access(ANYBODY),
    ("GET", "/login"): Access(ANYBODY),
    ("GET", "/metrics"): Access(EVERY_ROLE),
    ("GET", "/openapi.json"): Access(EVERY_ROLE),
    ("POST", "/v1/sessions"): Access(READERS),
    ("POST", "/v1/records"): Access(WRITERS),
    ("POST", "/v1/windows"): Access(METERS),
    ("POST", "/v1/devices"): Access(METERS),
    ("GET", "/v1/records"): Access(READERS),
    ("GET", "/v1/records/{record_id}"): Access(READERS),
    ("GET", "/v1/runs/{uid}"): Access(READERS),
    ("GET", "/v1/budgets"): Access(READERS),
    ("GET", "/v1/budgets/{name}"): Access(READERS),
    ("GET", "/v1/budgets/{name}/balance"): Access(READERS),
    ("GET", "/v1/balances"): Access(READERS),
    ("PUT", "/v1/budgets/{name}"): Access(OWNERS),
    ("DELETE", "/v1/budgets/{name}"): Access(OWNERS),
    ("GET", "/v1/budgets/{name}/statement"): Access(READERS),
    ("GET", "/v1/changes"): Access(READERS),
    ("GET", "/v1/changes/{change_id}"): Access(READERS),
    ("POST", "/v1/changes/{change_id}/approval"): Access(CHECKERS),
    ("POST", "/v1/changes/{change_id}/rejection"): Access(CHECKERS),
    ("GET", "/v1/ledger/check"): Access(AUDITORS | OWNERS),
    ("POST", "/v1/ledger/closes"): Access(OWNERS),
    ("POST", "/v1/ledger/repricings"): Access(EDITORS),
    ("GET", "/v1/exceptions"): Access(READERS),
    ("GET", "/v1/exceptions/{exception_id}"): Access(READERS),
    ("POST", "/v1/exceptions"): Access(REQUESTERS),
    ("POST", "/v1/exceptions/{exception_id}/approval"): Access(APPROVERS),
    ("GET", "/v1/holds"): Access(READERS),
    ("POST", "/v1/holds/{uid}/request"): Access(OPERATORS),
    ("POST", "/v1/holds/{uid}/confirm"): Access(OPERATORS),
    ("POST", "/v1/holds/{uid}/release"): Access(OPERATORS),
    ("PUT", "/v1/inventories/{cluster}/{kind}"): Access(OPERATORS),
    ("PUT", "/v1/adoptions/{cluster}"): Access(OPERATORS),
    ("GET", "/v1/factors"): Access(READERS),
    ("PUT", "/v1/factors"): Access(EDITORS),
    ("GET", "/v1/prices"): Access(READERS),
    ("PUT", "/v1/prices"): Access(EDITORS),
    ("GET", "/v1/sites"): Access(READERS),
    ("PUT", "/v1/sites"): Access(EDITORS),
    ("GET", "/v1/instruments"): Access(READERS),
    ("PUT", "/v1/instruments"): Access(EDITORS),
    ("GET", "/v1/market"): Access(READERS),
    ("POST", "/v1/predictions"): Access(READERS),
    ("POST", "/v1/comparisons"): Access(READERS),
    ("POST", "/v1/admission/validate"): Access(DECIDERS),
    ("POST", "/v1/admission/mutate"): Access(DECIDERS),
    ("POST", "/v1/admission/preview"): Access(READERS),
    ("POST", "/v1/reports"): Access(READERS),
    ("GET", "/v1/reports/{report_id}.{name}"): Access(READERS, page=True),
    ("GET", "/v1/log/checkpoint"): Access(READERS),
    ("GET", "/v1/log/entries"): Access(AUDITORS),
    ("GET", "/v1/log/proof"): Access(AUDITORS),
    ("GET", "/"): Access(READERS, page=True),
    ("GET", "/reports/{month}.{name}"): Access(READERS, page=True),
}
"""Every route that this service has; a test compares it with the application."""

BY_CLUSTER: Final = frozenset(
    {
        ("PUT", "/v1/budgets/{name}"),
        ("DELETE", "/v1/budgets/{name}"),
        ("POST", "/v1/exceptions"),
        ("POST", "/v1/exceptions/{exception_id}/approval"),
        ("PUT", "/v1/factors"),
        ("PUT", "/v1/prices"),
        ("PUT", "/v1/sites"),
    }
)
"""Routes that only the operator's identity may use where an operator is registered: the cluster is the source."""

NODE_PREFIX: Final = "node:"
"""How the principal of a node meter begins; what follows is the node that its token is bound to."""

SESSION_COOKIE: Final = "joulegate_session"
SESSION_S: Final = 12 * 3_600
LINK_S: Final = 3_600
_MOST_SESSIONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, with the roles and grants of its row."""

    name: str
    roles: frozenset[Role]
    grants: tuple[Grant, ...]

    def reaches(self, namespace: str, cluster: str, site: str | None, here: Grant) -> bool:
        """Whether some grant holds this place. ``here`` says which cluster and site a grant means that names none."""
        return any(
            _matches(grant.namespace, namespace)
            and _matches(grant.cluster or here.cluster, cluster)
            and (site is None or _matches(grant.site or here.site, site))
            for grant in self.grants
        )

    def require(self, namespace: str, cluster: str, site: str | None, here: Grant) -> None:
        """Raise :class:`NotPermittedError` where no grant holds the place."""
        if not self.reaches(namespace, cluster, site, here):
            place = f"{cluster}/{namespace}" + (f" at site {site}" if site else "")
            raise NotPermittedError(f"{self.name} has no grant for {place}")

    def sees(self, namespace: str, cluster: str, here: Grant) -> bool:
        """Whether what happens there may be shown to this principal."""
        return self.reaches(namespace, cluster, None, here)

    @property
    def sees_everything(self) -> bool:
        """Whether no namespace is hidden."""
        return any(grant.namespace == "*" and grant.cluster == "*" for grant in self.grants)


class Tokens:
    """The rows of the tokens file; read again when the file has changed, so that a revoked token ends at once."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises :class:`UnavailableError` or :class:`InvalidInputError`."""
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._rows: tuple[TokenRow, ...] = ()
        self._refresh()

    def principal(self, token: str) -> Principal | None:
        """Whose token this is; every row is compared."""
        proof = hash_of(token).encode()
        found = None
        for row in self._refresh():
            if hmac.compare_digest(row.token_hash.encode(), proof):
                found = row
        return Principal(found.principal, found.roles, found.grants) if found else None

    def _refresh(self) -> tuple[TokenRow, ...]:
        with self._lock:
            try:
                status = os.stat(self._path)  # noqa: PTH116 -- one call a request
            except OSError as error:
                raise UnavailableError(f"cannot read {self._path}: {error.strerror}") from error
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                try:
                    self._rows = read_rows(read_private(self._path) or "", str(self._path))
                except InvalidInputError as error:
                    raise UnavailableError(str(error)) from error
                self._stamp = stamp
            return self._rows


class Prover(Protocol):
    """Something else than the tokens file that knows whose a token is."""

    def principal(self, token: str) -> Principal | None:
        """Whose token this is."""


@dataclass(slots=True)
class Sessions:
    """Links that open once, and the sessions that they opened; kept in memory only, so a restart ends them."""

    clock: Callable[[], float] = time.monotonic
    _links: dict[bytes, tuple[Principal, float]] = field(default_factory=dict)
    _open: dict[bytes, tuple[Principal, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def link(self, principal: Principal) -> str:
        """The key of a link that opens one session of ``principal``, within an hour."""
        return self._issue(self._links, principal, LINK_S)

    def redeem(self, key: str) -> str | None:
        """A new session for a key that was never used; None for any other."""
        with self._lock:
            found = self._links.pop(_digest(key), None)
        if found is None or found[1] < self.clock():
            return None
        return self._issue(self._open, found[0], SESSION_S)

    def principal(self, session: str) -> Principal | None:
        """Whose session this is."""
        with self._lock:
            found = self._open.get(_digest(session))
        return found[0] if found and found[1] >= self.clock() else None

    def _issue(self, shelf: dict[bytes, tuple[Principal, float]], principal: Principal, lasts_s: int) -> str:
        secret = secrets.token_urlsafe(32)
        with self._lock:
            now = self.clock()
            for old in [key for key, (_, end) in shelf.items() if end < now]:
                del shelf[old]
            while len(shelf) >= _MOST_SESSIONS:
                del shelf[next(iter(shelf))]
            shelf[_digest(secret)] = (principal, now + lasts_s)
        return secret


def bearer_of(header: str | None) -> str | None:
    """The token of an ``Authorization`` header."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def authenticate(
    access: Access,
    header: str | None,
    cookie: str | None,
    tokens: Tokens,
    sessions: Sessions,
    accounts: Prover | None = None,
) -> Principal | None:
    """The principal that a route lets in; None on a route that is open to anybody.

    Raises :class:`RefusedError` (401) where nobody is proved, :class:`NotPermittedError`
    where the one who is has none of the roles.
    """
    if not access.roles:
        return None
    principal = None
    if (token := bearer_of(header)) is not None:
        principal = tokens.principal(token) or (accounts.principal(token) if accounts is not None else None)
    if principal is None and access.page and header is None and cookie is not None:
        principal = sessions.principal(cookie)
    if principal is None:
        hint = "; open the link that `joulegate up` prints" if access.page else ""
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "unauthenticated", f"a valid token is needed{hint}")
    if not principal.roles & access.roles:
        needed = ", ".join(sorted(access.roles))
        raise NotPermittedError(f"{principal.name} has none of the roles that this needs: {needed}")
    return principal


def _matches(granted: str | None, asked: str) -> bool:
    return granted in ("*", asked)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
