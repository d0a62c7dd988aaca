"""The cluster's API: where it is, and its answers as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from joulegate.core.errors import UnavailableError

Json = dict[str, Any]
Call = Callable[..., Any]
"""A method of the generated client that takes the options of list and watch."""

_CONNECT_S: Final = 10
_READ_S: Final = 60
WATCH_S: Final = 290
"""How long the server is asked to keep a watch open."""


class KubeError(UnavailableError):
    """The cluster's API answered with an error; ``status`` is its HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Keep the status."""
        super().__init__(message)
        self.status = status


def connect(kubeconfig: Path | None = None) -> client.ApiClient:
    """The client: by a kubeconfig where one is named, else by the pod's service account.

    Raises :class:`UnavailableError`.
    """
    settings = client.Configuration()
    try:
        if kubeconfig is not None:
            config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise UnavailableError(f"no way to the cluster's API is configured: {error}") from error
    settings.retries = False
    return client.ApiClient(settings)


def listed(call: Call, **options: Any) -> Json:  # noqa: ANN401 -- options of the client
    """One list, or one object; raises :class:`KubeError`."""
    answer = _ask(call, _READ_S, options)
    try:
        found = json.loads(answer.data)
    except (ValueError, HTTPError) as error:
        raise KubeError(f"the cluster's API sent something else than JSON: {error}") from error
    finally:
        answer.release_conn()
    if not isinstance(found, dict):
        raise KubeError("the cluster's API sent no object")
    return found


def patched(call: Call, **options: Any) -> Json:  # noqa: ANN401 -- options of the client
    """An object as the change left it; raises :class:`KubeError`."""
    return listed(call, **options)


def asked(kube: client.ApiClient, method: str, path: str, body: object = None) -> Json:
    """One request to any path, an object as it is afterwards; a PATCH is a merge patch. Raises :class:`KubeError`."""
    kinds = {"PATCH": "application/merge-patch+json"}
    headers = {"Accept": "application/json", "Content-Type": kinds.get(method, "application/json")}
    whole = kube.param_serialize(method, path, header_params=headers, body=body, auth_settings=["BearerToken"])

    def call(*, _preload_content: bool, _request_timeout: tuple[float, float]) -> Any:  # noqa: ANN401 -- urllib3's response
        return kube.call_api(*whole, _request_timeout=_request_timeout).response

    return listed(call)


def watched(call: Call, version: str, **options: Any) -> Iterator[Json]:  # noqa: ANN401 -- options of the client
    """Events from ``version`` on, bookmarks among them, until the server ends the watch; raises :class:`KubeError`."""
    options |= {"watch": True, "resource_version": version, "allow_watch_bookmarks": True, "timeout_seconds": WATCH_S}
    answer = _ask(call, WATCH_S + _CONNECT_S, options)
    rest = b""
    try:
        for piece in answer.stream(1 << 16, decode_content=False):
            *lines, rest = (rest + piece).split(b"\n")
            for line in filter(None, lines):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise KubeError(
                        str(event["object"].get("message", "the watch failed")), event["object"].get("code", 0)
                    )
                yield event
    except (HTTPError, ValueError, KeyError, OSError) as error:
        raise KubeError(f"the watch broke off: {error}") from error
    finally:
        answer.close()


def _ask(call: Call, read_s: float, options: Json) -> Any:  # noqa: ANN401 -- urllib3's response
    try:
        answer = call(**options, _preload_content=False, _request_timeout=(float(_CONNECT_S), float(read_s)))
    except client.ApiException as error:
        raise KubeError(f"the cluster's API refuses: {error.status} {error.reason}", error.status or 0) from error
    except (HTTPError, OSError) as error:
        raise KubeError(f"the cluster's API does not answer: {error}") from error
    if answer.status >= _FIRST_ERROR:
        answer.release_conn()
        raise KubeError(f"the cluster's API refuses: {answer.status} {answer.reason}", answer.status)
    return answer


_FIRST_ERROR: Final = 400
"""The generated client hands an error through when it does not parse the answer."""
