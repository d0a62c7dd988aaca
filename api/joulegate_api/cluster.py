"""The only client of the cluster's API: it reads objects, and asks whose a token is and what somebody may do.

It writes nothing. Built on the standard library, so that the image of the API
needs no more for it. Every question has a deadline, every answer a size, and
what cannot be asked is an error: nobody gains a right because the cluster is away.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from joulegate.addresses import is_loopback
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.home import read_private
from joulegate_api.settings import Settings

Json = dict[str, Any]

IN_CLUSTER: Final = "in-cluster"
"""The address that means: by this pod's own service account."""

MOST_BYTES: Final = 16 << 20
"""Largest answer that is read; etcd keeps no object above 1.5 MiB, so this is a list of many."""

NODE_CLAIM: Final = "authentication.kubernetes.io/node-name"
"""Where the API server tells, of a token that is bound to a pod, which node the pod is on (Kubernetes >= 1.32)."""

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MOST_AT_ONCE: Final = 32
_PIECE: Final = 1 << 16
_LONGEST_REASON: Final = 200


class ClusterError(UnavailableError):
    """The cluster's API refused, or did not answer in time; ``status`` is its HTTP status, 0 where there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Keep the status."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token belongs to, as the cluster says."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def node(self) -> str | None:
        """The node of the pod that the token is bound to; None where it is bound to none."""
        names = self.extra.get(NODE_CLAIM, ())
        return names[0] if len(names) == 1 and names[0] else None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody wants to do with objects of a kind; empty fields mean any, as in RBAC."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where the cluster's API is, and what proves us to it: a token in a file, or a certificate with its key."""

    url: str
    ca_file: Path | None = None
    token_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str] | None = None, account: Path = _ACCOUNT) -> ClusterAddress:
        """The address that every pod is told; raises :class:`UnavailableError` outside of a cluster."""
        values = os.environ if environment is None else environment
        host, port = values.get("KUBERNETES_SERVICE_HOST"), values.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise UnavailableError("this process is in no cluster: KUBERNETES_SERVICE_HOST is not set")
        name = f"[{host}]" if ":" in host else host
        return cls(f"https://{name}:{port}", account / "ca.crt", account / "token")


def open_cluster(settings: Settings) -> Cluster | None:
    """The cluster that the settings name; None where they name none. Raises :class:`UnavailableError`."""
    if not settings.kube_api:
        return None
    if settings.kube_api == IN_CLUSTER:
        return Cluster(ClusterAddress.in_cluster())
    return Cluster(
        ClusterAddress(
            settings.kube_api,
            settings.kube_ca_file,
            settings.kube_token_file,
            settings.kube_certificate_file,
            settings.kube_key_file,
        )
    )


def deadline_in(seconds: float) -> float:
    """The instant of the monotonic clock that is ``seconds`` from now, in seconds."""
    return time.monotonic() + seconds


def path_to(*segments: str) -> str:
    """An address within the cluster's API; each segment is one name, whatever characters it has.

    Raises :class:`InvalidInputError` for a segment that would name another object.
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise InvalidInputError(f"{segment!r} is no name in the cluster")
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


class Cluster:
    """The cluster's API, for any number of threads; connections are kept open between questions."""

    def __init__(self, address: ClusterAddress) -> None:
        """Check the address and read certificates; raises :class:`UnavailableError`. Connects to nobody yet."""
        parts = urlsplit(address.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UnavailableError(f"{address.url!r} is no address of a cluster's API")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise UnavailableError("the cluster's API is asked over TLS only: its address begins with https://")
        self._host = parts.hostname
        self._port = parts.port
        self._address = address
        self._tls = _tls_of(address) if parts.scheme == "https" else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def get(self, path: str, deadline: float, query: Mapping[str, str] | None = None) -> Json:
        """One object, or one list; ``path`` is made by :func:`path_to`, ``deadline`` by :func:`deadline_in`.

        Raises :class:`ClusterError`, with status 404 where there is no such object.
        """
        return self._ask("GET", path + (f"?{urlencode(query)}" if query else ""), None, deadline)

    def token_review(self, token: str, audience: str, deadline: float) -> Identity | None:
        """Whose token this is, where it is meant for ``audience``; None where it is nobody's.

        Raises :class:`ClusterError`.
        """
        question = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        status = _part(self._ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", question, deadline), "status")
        # An API server that knows nothing of audiences names none: its word is then no proof.
        if status.get("authenticated") is not True or audience not in (status.get("audiences") or ()):
            return None
        user = _part(status, "user")
        if not isinstance(user.get("username"), str) or not user["username"]:
            raise ClusterError("the cluster's API proved a token of nobody")
        extra = {str(key): tuple(map(str, values)) for key, values in (user.get("extra") or {}).items()}
        return Identity(user["username"], str(user.get("uid", "")), tuple(map(str, user.get("groups") or ())), extra)

    def subject_access_review(self, who: Identity, what: Attributes, deadline: float) -> bool:
        """Whether the cluster's own rules let ``who`` do ``what``. Raises :class:`ClusterError`."""
        names = ("verb", "group", "resource", "name", "namespace", "subresource")
        spec = {
            "user": who.username,
            "uid": who.uid,
            "groups": list(who.groups),
            "extra": {key: list(values) for key, values in who.extra.items()},
            "resourceAttributes": {name: getattr(what, name) for name in names if getattr(what, name)},
        }
        question = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = self._ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", question, deadline)
        status = _part(answer, "status")
        return status.get("allowed") is True and status.get("denied") is not True

    def close(self) -> None:
        """Let go of the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- one question ------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Json | None, deadline: float) -> Json:
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ClusterError("too many questions to the cluster's API at once")
        try:
            status, content = self._exchange(method, path, body, deadline)
        finally:
            self._places.release()
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if status >= HTTPStatus.BAD_REQUEST:
            reason = str(answer.get("message", "")) if isinstance(answer, dict) else ""
            raise ClusterError(f"the cluster's API refuses: {status} {reason[:_LONGEST_REASON]}".rstrip(), status)
        if not isinstance(answer, dict) or status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise ClusterError(f"the cluster's API sent no object (status {status})", status)
        return answer

    def _exchange(self, method: str, path: str, body: Json | None, deadline: float) -> tuple[int, bytes]:
        """Send and receive; once more on a new connection where one that was kept open had been closed meanwhile."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._exchange_over(kept, method, path, body, deadline)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                kept.close()
            except (OSError, http.client.HTTPException) as error:
                kept.close()
                raise ClusterError(f"the cluster's API does not answer: {_reason(error)}") from error
        connection = self._connection()
        try:
            return self._exchange_over(connection, method, path, body, deadline)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ClusterError(f"the cluster's API does not answer: {_reason(error)}") from error

    def _exchange_over(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Json | None, deadline: float
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "User-Agent": "joulegate-api"}
        if self._address.token_file is not None:
            headers["Authorization"] = f"Bearer {read_private(self._address.token_file) or ''}"  # it is renewed
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        _limit(connection, deadline)
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        received = bytearray()
        while piece := answer.read1(_PIECE):
            received += piece
            if len(received) > MOST_BYTES:
                raise http.client.HTTPException("its answer is larger than 16 MiB")
            _limit(connection, deadline)
        answer.close()  # read1 leaves that to its caller, and the next question needs it
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return answer.status, bytes(received)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port)
        return http.client.HTTPSConnection(self._host, self._port, context=self._tls)


def _limit(connection: http.client.HTTPConnection, deadline: float) -> None:
    """Let no step of an exchange go beyond the deadline."""
    rest_s = deadline - time.monotonic()
    if rest_s <= 0:
        raise TimeoutError("the deadline has passed")
    connection.timeout = rest_s
    if connection.sock is not None:
        connection.sock.settimeout(rest_s)


def _tls_of(address: ClusterAddress) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca_file and str(address.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if address.certificate_file is not None:
            context.load_cert_chain(address.certificate_file, address.key_file)
    except OSError as error:  # SSLError is one
        raise UnavailableError(f"cannot use the certificates for the cluster's API: {_reason(error)}") from error
    return context


def _part(value: Json, name: str) -> Json:
    found = value.get(name)
    if not isinstance(found, dict):
        raise ClusterError(f"the cluster's API sent no {name}")
    return found


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:_LONGEST_REASON]
