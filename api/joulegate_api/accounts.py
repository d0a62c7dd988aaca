"""Principals of the cluster: a projected service-account token is asked about, and what was answered kept briefly.

A node meter's token is bound to its pod, and the pod to a node; so the token
itself says for which node it may speak. Doubt is never a right: where the
cluster does not answer, nobody new is let in.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import anyio
import anyio.to_thread

from joulegate.core.errors import NotPermittedError, UnavailableError
from joulegate.tokens import Grant, Role
from joulegate_api.auth import NODE_PREFIX, Principal
from joulegate_api.cluster import Cluster, Identity, deadline_in
from joulegate_api.settings import Settings

KEPT_S: Final = 60.0
"""How long a token that was proved need not be proved again: so long a revoked one may go on."""

REFUSED_S: Final = 10.0
"""How long a token that is nobody's is not asked about again."""

MOST_KEPT: Final = 4_096
PATIENCE_S: Final = 5.0
MOST_ASKING: Final = 16
"""Questions to the cluster at once, so that a flood of tokens leaves the other requests their threads."""

_LONGEST_TOKEN: Final = 16 << 10
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Accounts:
    """Who the cluster says that a token is; bounded in memory, safe to use from many threads."""

    def __init__(self, cluster: Cluster, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep the parts; asks nobody yet."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Identity | None, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._asking = anyio.CapacityLimiter(MOST_ASKING)

    async def prove(self, token: str) -> None:
        """Ask where that is needed, in a thread, so that other requests do not wait for the answer.

        Raises :class:`UnavailableError` where the cluster does not answer, or too many are waiting already.
        """
        if not self._must_ask(token):
            return
        if self._asking.statistics().tasks_waiting >= MOST_ASKING:
            raise UnavailableError("too many unknown tokens at once")
        await anyio.to_thread.run_sync(self.ask, token, limiter=self._asking)

    def _must_ask(self, token: str) -> bool:
        """Whether the cluster has to be asked before :meth:`principal` knows: a token of its form, not asked lately."""
        if len(token) > _LONGEST_TOKEN or _JWT.fullmatch(token) is None:
            return False
        with self._lock:
            found = self._known.get(_digest(token))
        return found is None or found[1] <= self._clock()

    def ask(self, token: str) -> None:
        """Ask the cluster, for at most five seconds; raises :class:`~joulegate_api.cluster.ClusterError`."""
        identity = self._cluster.token_review(token, self._settings.kube_audience, deadline_in(PATIENCE_S))
        until = self._clock() + (REFUSED_S if identity is None else KEPT_S)
        with self._lock:
            self._known[_digest(token)] = (identity, until)
            self._known.move_to_end(_digest(token))
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)

    def principal(self, token: str) -> Principal | None:
        """Whose token this is by what was asked; None where it is nobody's, or where nobody asked.

        Raises :class:`NotPermittedError` for a node meter's token that is bound to no node.
        """
        with self._lock:
            identity, until = self._known.get(_digest(token), (None, 0.0))
        if identity is None or until <= self._clock():
            return None
        here = Grant("*", self._settings.cluster, self._settings.site)
        if identity.username in self._settings.operator_accounts:
            return Principal(identity.username, frozenset({Role.OPERATOR}), (here,))
        if identity.username not in self._settings.meter_accounts:
            return Principal(identity.username, frozenset(), ())
        if identity.node is None:
            raise NotPermittedError(
                f"the token of {identity.username} is bound to no node: it has to be projected into a pod, "
                "by Kubernetes 1.32 or newer"
            )
        return Principal(NODE_PREFIX + identity.node, frozenset({Role.METER}), (here,))


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
