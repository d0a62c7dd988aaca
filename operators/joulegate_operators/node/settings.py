"""Settings of the node meter, from ``JOULEGATE_*`` variables, read once by ``main``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joulegate.core.errors import InvalidInputError

SOCKET: Final = Path("/var/lib/kubelet/pod-resources/kubelet.sock")

VARIABLES: Final = (
    ("JOULEGATE_NODE", "", "Name of this node (spec.nodeName); the node meter needs it."),
    ("JOULEGATE_NODE_UID", "", "Uid of the node object; where it is not set the cluster is asked."),
    ("JOULEGATE_KUBECONFIG", "", "Kubeconfig file; where it is not set the account of the pod is used."),
    ("JOULEGATE_KUBELET_SOCKET", str(SOCKET), "Pod-resources socket of the kubelet."),
    ("JOULEGATE_METER_FOLDER", "/var/lib/joulegate", "Where the node meter keeps windows."),
    ("JOULEGATE_METER_HOST", "127.0.0.1", "Address of the node meter's metrics and health."),
    ("JOULEGATE_METER_PORT", "9464", "Port of the node meter's metrics and health; 0 takes a free one."),
    ("JOULEGATE_METER_INTERVAL_MS", "1000", "Time between readings of a GPU, 20 to 10000."),
    ("JOULEGATE_METER_ALLOCATION_MS", "2000", "Time between questions to the kubelet, 20 to 60000."),
    ("JOULEGATE_METER_LOG_MIB", "256", "Most space for windows on the disk."),
    ("JOULEGATE_METER_PROC", "/proc", "The host's processes."),
)
"""Variable, default and meaning, beside those that every program of ours has."""

SHARED: Final = (
    ("JOULEGATE_ADDRESS", "", "Address of the API."),
    ("JOULEGATE_TOKEN_FILE", "", "File with the token, read anew before each round of sending."),
    ("JOULEGATE_CLUSTER", "local", "Cluster that this node is of."),
    ("JOULEGATE_REPLAY", "", "Recording that is played instead of reading GPUs."),
    ("JOULEGATE_CALIBRATIONS", "", "File of calibrations of boards, read at the start."),
)
"""What the node meter takes of those."""

_MS: Final = 1_000_000


_DEFAULTS: Final = {name: default for name, default, _ in (*VARIABLES, *SHARED)}


def listed() -> Iterator[tuple[str, str, str]]:
    """Each variable of the node meter with its value in force and its meaning, for ``joulegate config``."""
    for name, default, meaning in VARIABLES:
        yield name, os.environ.get(name, default), meaning


def _text(values: Mapping[str, str], name: str) -> str:
    return values.get(name, _DEFAULTS[name])


def _whole(values: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = _text(values, name)
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
            cluster=_text(values, "JOULEGATE_CLUSTER"),
            folder=Path(_text(values, "JOULEGATE_METER_FOLDER")),
            kubelet=Path(_text(values, "JOULEGATE_KUBELET_SOCKET")),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            host=_text(values, "JOULEGATE_METER_HOST"),
            port=_whole(values, "JOULEGATE_METER_PORT", 0, 65_535),
            interval_ns=_whole(values, "JOULEGATE_METER_INTERVAL_MS", 20, 10_000) * _MS,
            allocation_ns=_whole(values, "JOULEGATE_METER_ALLOCATION_MS", 20, 60_000) * _MS,
            log_bytes=_whole(values, "JOULEGATE_METER_LOG_MIB", 1, 1 << 20) << 20,
            replay=values.get("JOULEGATE_REPLAY"),
            proc=Path(_text(values, "JOULEGATE_METER_PROC")),
            environment=dict(values),
        )
