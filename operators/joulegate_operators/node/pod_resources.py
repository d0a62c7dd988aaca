"""Asks the kubelet which container holds which device, over its unix socket.

The kubelet names pods by namespace and name, and knows no uid; :mod:`.pods` adds
it. It limits the rate of questions and sends no changes, so it is asked every
few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from joulegate.core.errors import UnavailableError
from joulegate_operators.node import pod_resources_messages as messages
from joulegate_operators.node.settings import SOCKET

TIMEOUT_S: Final = 10.0

_LONGEST: Final = 64 << 20
_OPTIONS: Final = (
    # Without it grpcio sends the percent-encoded path as :authority, which strict servers refuse.
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", _LONGEST),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, order=True, slots=True)
class Claimed:
    """A device that a container has by a claim (dynamic resource allocation)."""

    claim: str
    driver: str
    pool: str
    device: str
    share: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """The devices of one container: ids by resource name, and claimed ones."""

    namespace: str
    pod: str
    name: str
    ids: Mapping[str, tuple[str, ...]]
    claimed: tuple[Claimed, ...] = ()


class PodResources:
    """The kubelet's answers; keeps one channel open."""

    def __init__(self, socket: Path = SOCKET) -> None:
        """Name the socket; nothing is sent yet."""
        self._channel = grpc.insecure_channel(f"unix://{socket.absolute()}", options=_OPTIONS)
        self._list = self._method("List", messages.ListRequest, messages.ListResponse)
        self._allocatable = self._method(
            "GetAllocatableResources", messages.AllocatableRequest, messages.AllocatableResponse
        )

    def _method(self, name: str, request: Any, response: Any) -> Any:  # noqa: ANN401 -- protobuf classes
        return self._channel.unary_unary(
            f"/{messages.SERVICE}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def containers(self) -> tuple[Container, ...]:
        """Every container with devices; raises :class:`UnavailableError`."""
        answer = self._ask(self._list, messages.ListRequest())
        return tuple(
            found
            for pod in answer.pod_resources
            for container in pod.containers
            if (found := _container(pod, container)).ids or found.claimed
        )

    def allocatable(self) -> Mapping[str, tuple[str, ...]]:
        """All device ids that the kubelet may hand out, by resource name; raises :class:`UnavailableError`."""
        return _ids(self._ask(self._allocatable, messages.AllocatableRequest()).devices)

    def _ask(self, method: Any, request: Any) -> Any:  # noqa: ANN401 -- protobuf classes
        try:
            return method(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else error
            raise UnavailableError(f"the kubelet's pod-resources socket does not answer: {code}") from error

    def close(self) -> None:
        """Let go of the socket."""
        self._channel.close()


def _container(pod: Any, container: Any) -> Container:  # noqa: ANN401 -- protobuf classes
    claimed = tuple(
        sorted(
            Claimed(
                f"{dynamic.claim_namespace}/{dynamic.claim_name}", r.driver_name, r.pool_name, r.device_name, r.share_id
            )
            for dynamic in container.dynamic_resources
            for r in dynamic.claim_resources
        )
    )
    return Container(pod.namespace, pod.name, container.name, _ids(container.devices), claimed)


def _ids(devices: Any) -> Mapping[str, tuple[str, ...]]:  # noqa: ANN401 -- protobuf classes
    found: dict[str, set[str]] = {}
    for device in devices:  # one entry a NUMA node: the same name may come several times
        found.setdefault(device.resource_name, set()).update(device.device_ids)
    return {name: tuple(sorted(ids)) for name, ids in sorted(found.items())}
