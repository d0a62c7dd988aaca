"""A client of the API server for tests: objects as dicts, writes strict, waits bounded."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2

WAIT_S: Final = 30.0
Object = dict[str, Any]
_T = TypeVar("_T")


class RefusedError(Exception):
    """The API server's own answer to what it did not do."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("message", body)))
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.body = body


@dataclass(frozen=True, slots=True)
class Api:
    """One identity at one API server; made by :meth:`open`, or by :meth:`as_user` from another."""

    client: httpx2.Client
    headers: Mapping[str, str] = field(default_factory=dict)
    kinds: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def open(cls, kubeconfig: Path, connections: int = 100) -> Api:
        """A client with the settings of a file that :class:`ControlPlane` wrote; that many requests go at once."""
        settings = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = settings["clusters"][0]["cluster"], settings["users"][0]["user"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        limits = httpx2.Limits(max_connections=connections)
        return cls(
            httpx2.Client(base_url=cluster["server"], verify=context, timeout=30, limits=limits, trust_env=False)
        )

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()

    def as_user(self, name: str, *groups: str) -> Api:
        """The same client, impersonating: what RBAC says of `name` holds."""
        headers = {"Impersonate-User": name}
        if groups:
            headers["Impersonate-Group"] = groups[0]
        return Api(self.client, headers, self.kinds)

    def request(self, method: str, path: str, body: object = None, **options: str) -> Object:
        """One request; raises :class:`RefusedError` with the server's answer."""
        content_type = options.pop("content_type", "application/json")
        answer = self.client.request(
            method,
            path,
            params=options,
            content=None if body is None else json.dumps(body),
            headers={**self.headers, "Content-Type": content_type},
        )
        told = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
        if answer.status_code >= httpx2.codes.BAD_REQUEST:
            raise RefusedError(answer.status_code, told or {"message": answer.text})
        return dict(told)

    def path(self, api_version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        """The address of a kind's objects, or of the one called `name`."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        if (api_version, kind) not in self.kinds:
            for resource in self.request("GET", root)["resources"]:
                if "/" not in resource["name"]:
                    self.kinds[api_version, resource["kind"]] = (resource["name"], resource["namespaced"])
        plural, namespaced = self.kinds[api_version, kind]
        inside = f"/namespaces/{namespace or 'default'}" if namespaced else ""
        return f"{root}{inside}/{plural}" + (f"/{name}" if name else "")

    def path_of(self, source: Mapping[str, Any]) -> str:
        """The address of an object."""
        metadata = source["metadata"]
        return self.path(source["apiVersion"], source["kind"], metadata.get("namespace"), metadata.get("name"))

    def create(self, source: Mapping[str, Any], **options: str) -> Object:
        """Create an object; an unknown or doubled field is an error."""
        metadata = source["metadata"]
        path = self.path(source["apiVersion"], source["kind"], metadata.get("namespace"))
        return self.request("POST", path, source, fieldValidation="Strict", **options)

    def apply(self, source: Mapping[str, Any], manager: str = "tests", **options: str) -> Object:
        """Apply an object server-side; an unknown or doubled field is an error."""
        return self.request(
            "PATCH",
            self.path_of(source),
            source,
            content_type="application/apply-patch+yaml",
            fieldManager=manager,
            fieldValidation="Strict",
            **options,
        )

    def read(self, source: Mapping[str, Any]) -> Object:
        """An object as it stands now."""
        return self.request("GET", self.path_of(source))

    def patch(self, source: Mapping[str, Any], change: Mapping[str, Any], subresource: str = "") -> Object:
        """Change an object, or its `subresource`, by a merge patch."""
        path = self.path_of(source) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, change, content_type="application/merge-patch+json")

    def delete(self, source: Mapping[str, Any]) -> None:
        """Delete an object, dependents in the background."""
        self.request("DELETE", self.path_of(source), propagationPolicy="Background")

    def exists(self, source: Mapping[str, Any]) -> bool:
        """Whether an object is there."""
        try:
            self.read(source)
        except RefusedError as refused:
            if refused.status == httpx2.codes.NOT_FOUND:
                return False
            raise
        return True

    def all(self, api_version: str, kind: str, namespace: str | None = None, **options: str) -> list[Object]:
        """The objects of a kind, in one namespace or, of a kind without namespaces, everywhere."""
        listed = self.request("GET", self.path(api_version, kind, namespace), **options)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in listed["items"]]


def eventually(question: Callable[[], _T], *, within_s: float = WAIT_S, saying: str = "") -> _T:
    """The first answer that is true, asked again until then; fails after `within_s` seconds."""
    end = time.monotonic() + within_s
    while not (answer := question()):
        if time.monotonic() > end:
            message = f"not so within {within_s:g} s: {saying or question}"
            raise AssertionError(message)
        time.sleep(0.05)
    return answer
