"""Settings of the node meter, from ``JOULEGATE_*`` variables, read once by ``main``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate_operators.node.pod_resources import SOCKET

_MS: Final = 1_000_000


def _whole(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = values.get(name, str(default))
    if not text.isdigit() or not least <= int(text) <= most:
        raise InvalidInputError(f"{text[:60]!r} is not a whole number between {least} and {most}", name)
    return int(text)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the node meter finds what it needs."""

    node: str
    node_uid: str | None = None
    cluster: str = "local"
    folder: Path = Path("/var/lib/joulegate")
    kubelet: Path = SOCKET
    kubeconfig: Path | None = None
    host: str = "127.0.0.1"
    port: int = 9464
    interval_ns: int = 1_000 * _MS
    allocation_ns: int = 2_000 * _MS
    log_bytes: int = 256 << 20
    replay: str | None = None
    proc: Path = Path("/proc")
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> Settings:
        """Read the variables; raises :class:`InvalidInputError` with the name of one that is wrong or missing.

        ``JOULEGATE_NODE`` (the node's name) has to be there. ``JOULEGATE_ADDRESS`` and
        ``JOULEGATE_TOKEN_FILE`` are read anew before each round of sending.
        """
        if not values.get("JOULEGATE_NODE"):
            raise InvalidInputError("is not set: the name of this node (spec.nodeName)", "JOULEGATE_NODE")
        kubeconfig = values.get("JOULEGATE_KUBECONFIG")
        return cls(
            node=values["JOULEGATE_NODE"],
            node_uid=values.get("JOULEGATE_NODE_UID"),
            cluster=values.get("JOULEGATE_CLUSTER", "local"),
            folder=Path(values.get("JOULEGATE_METER_FOLDER", "/var/lib/joulegate")),
            kubelet=Path(values.get("JOULEGATE_KUBELET_SOCKET", str(SOCKET))),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            host=values.get("JOULEGATE_METER_HOST", "127.0.0.1"),
            port=_whole(values, "JOULEGATE_METER_PORT", 9464, 0, 65_535),
            interval_ns=_whole(values, "JOULEGATE_METER_INTERVAL_MS", 1_000, 20, 10_000) * _MS,
            allocation_ns=_whole(values, "JOULEGATE_METER_ALLOCATION_MS", 2_000, 20, 60_000) * _MS,
            log_bytes=_whole(values, "JOULEGATE_METER_LOG_MIB", 256, 1, 1 << 20) << 20,
            replay=values.get("JOULEGATE_REPLAY"),
            proc=Path(values.get("JOULEGATE_METER_PROC", "/proc")),
            environment=dict(values),
        )
