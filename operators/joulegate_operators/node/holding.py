"""Asks, every few seconds, who holds the node's GPUs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from joulegate.clock import Clock
from joulegate.core.errors import JoulegateError, UnavailableError
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import GpuReader
from joulegate.gpu.sharing import Parts, SharingReader
from joulegate_operators.node.allocation import Claims, Found, Layout, has_gpu_claim, holds_of
from joulegate_operators.node.claims import NoClaims
from joulegate_operators.node.pod_resources import PodResources
from joulegate_operators.node.pods import NodePods
from joulegate_operators.node.settings import Settings

_LAYOUT_NS: Final = 60 * NS_PER_SECOND
"""How often it is looked up which ids there are and how GPUs are cut, as long as every id is known."""

_LAYOUT_LEAST_NS: Final = 5 * NS_PER_SECOND


class Holding:
    """One thread that asks the kubelet; the newest answer waits to be taken."""

    def __init__(
        self, kubelet: PodResources, pods: NodePods, reader: GpuReader, settings: Settings, clock: Clock
    ) -> None:
        """Prepare."""
        self._kubelet = kubelet
        self._pods = pods
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._found: Found | None = None
        self._layout = Layout(reader.devices())
        self._allocatable: Mapping[str, tuple[str, ...]] = {}
        self._looked_ns: int | None = None
        self._sharing = sharing_of(reader)
        self.claims: Claims = NoClaims("the versions of ResourceSlice that the cluster serves are not known yet")
        self.error: str | None = "the kubelet was not asked yet"
        self.unknown_pods = self.unknown_ids = 0
        self.answered = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="joulegate holds", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with one last question."""
        self._stop.set()
        self._thread.join(2.0)
        self._kubelet.close()

    def take(self) -> Found | None:
        """The newest answer since the last call; None where there is none."""
        with self._lock:
            found, self._found = self._found, None
        return found

    def known(self, uuid: str) -> tuple[Parts | None, Mapping[str, tuple[str, str]]]:
        """How a device is cut, None where it is whole; pod uid and name of every container of the node by its id."""
        return self._layout.cuts.get(uuid), self._pods.snapshot().containers

    def _run(self) -> None:
        self._pods.informer.synced.wait(5.0)
        while True:
            self._ask()
            if self._stop.wait(self._settings.allocation_ns / NS_PER_SECOND):
                return

    def _ask(self) -> None:
        if not self._pods.informer.synced.is_set():
            self.error = self._pods.informer.error or "the pods of this node are not known yet"
            return
        try:
            containers = self._kubelet.containers()
            if self.claims.missing and any(has_gpu_claim(container) for container in containers):
                raise UnavailableError(self.claims.missing)  # else a claimed GPU would seem to be nobody's
            self._look()
            found = holds_of(containers, self._allocatable, self._layout, self._pods.snapshot(), self.claims)
        except JoulegateError as error:
            self.error = str(error)
            return
        if found.unknown_ids:
            self._looked_ns = min(self._looked_ns or 0, self._clock.boottime_ns() - _LAYOUT_NS + _LAYOUT_LEAST_NS)
        self.unknown_pods, self.unknown_ids = len(found.unknown_pods), len(found.unknown_ids)
        self.error = None
        self.answered = time.monotonic()
        with self._lock:
            self._found = found

    def _look(self) -> None:
        """Learn anew which ids there are and how GPUs are cut, once a minute."""
        now_ns = self._clock.boottime_ns()
        if self._looked_ns is not None and now_ns - self._looked_ns < _LAYOUT_NS:
            return
        self._looked_ns = now_ns
        devices = self._reader.devices()
        cuts: dict[str, Parts] = {}
        for device in devices if self._sharing else ():
            parts = self._sharing.parts(device) if self._sharing else None
            if parts is not None:
                cuts[device.uuid] = parts
        self._layout = Layout(devices, cuts)
        self._allocatable = self._kubelet.allocatable()


def sharing_of(reader: GpuReader) -> SharingReader | None:
    """The reader, where it tells of sharing too (a recording does not)."""
    return reader if isinstance(reader, SharingReader) else None
