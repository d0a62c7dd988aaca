"""The node meter's process: threads around :class:`~.meter.NodeMeter`, from start to an orderly end."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Final

from kubernetes import client as kubernetes_client

from joulegate.calibrations import calibrated, calibrations
from joulegate.client import Client
from joulegate.clock import Clock, SystemClock, boot_id
from joulegate.core.errors import JoulegateError, UnavailableError
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import GpuReader, open_reader
from joulegate_operators.kube import KubeError, connect, listed
from joulegate_operators.node.claims import NoClaims, NodeClaims, served_version
from joulegate_operators.node.figures import Figures
from joulegate_operators.node.frames import Reach, passing
from joulegate_operators.node.holding import Holding, sharing_of
from joulegate_operators.node.inventory import Inventory
from joulegate_operators.node.meter import NodeMeter, Sample
from joulegate_operators.node.pod_resources import PodResources
from joulegate_operators.node.pods import NodePods
from joulegate_operators.node.sampling import Sampler
from joulegate_operators.node.settings import SHARED, VARIABLES, Settings
from joulegate_operators.node.shipping import Shipper
from joulegate_operators.node.status import StatusServer
from joulegate_operators.node.tape import Tape
from joulegate_operators.node.use import UseSampler, UseWatch
from joulegate_operators.node.wal import WindowLog

DRAIN_S: Final = 10.0
"""How long the end waits for the API; what it does not take is sent after the next start."""

_CLAIMS_S: Final = 300.0
"""How often a cluster without ResourceSlices is asked again: an upgrade may bring them."""

_LOOK_NS: Final = 60 * NS_PER_SECOND
"""How often the node's devices are listed."""


class NodeProcess:
    """Everything that runs on one node."""

    def __init__(
        self, settings: Settings, reader: GpuReader, *, clock: Clock | None = None, reach: Reach = passing
    ) -> None:
        """Open the log and resume; raises :class:`JoulegateError` where folder, port or calibrations cannot be had."""
        self._settings = settings
        self._clock = clock or SystemClock()
        self._reader = reader
        self._calibrations = calibrations(settings.environment)
        self._stop = threading.Event()
        api = connect(settings.kubeconfig)
        try:
            uid = settings.node_uid or _node_uid(api, settings.node)
            self.log = WindowLog(settings.folder / "windows", uid, reach=reach, budget=settings.log_bytes)
            tape = Tape(settings.folder / "tape", reach=reach)
            self.meter = NodeMeter(self.log, tape, reader.methods, boot_id(), reach=reach)
            self.meter.resume(self._clock.now())
        except OSError as error:
            raise UnavailableError(f"cannot keep windows in {settings.folder}: {error.strerror or error}") from error
        self.sampler = Sampler(reader, settings.interval_ns, self._clock)
        self.pods = NodePods(api, settings.node)
        self._api = api
        self.holding = Holding(PodResources(settings.kubelet), self.pods, reader, settings, self._clock)
        self.use = self._use_watch()
        self.shipper = Shipper(partial(Client.from_home, settings.environment), self.log, self._clock, reach=reach)
        self.inventory = Inventory(settings.cluster, settings.node, settings.folder, self.shipper)
        self.figures = Figures(self.meter, self.sampler, self.shipper, self.holding, self.log, self._clock)
        self.status = StatusServer(
            settings.host, settings.port, self.figures.text, self.figures.alive, self.figures.ready
        )

    def _use_watch(self) -> UseWatch | None:
        """None where the reader, a recording say, does not tell who uses a GPU."""
        sharing = sharing_of(self._reader)
        if sharing is None:
            return None
        sampler = UseSampler(sharing, self._settings.proc)
        return UseWatch(sampler, self.meter.chains, self.holding.known, self._settings.interval_ns / NS_PER_SECOND)

    def run(self) -> None:
        """Measure until :meth:`stop`; then close what goes on and send it."""
        self.pods.informer.start()
        threading.Thread(target=self._use_claims, name="joulegate claims", daemon=True).start()
        self._look()
        self.shipper.start()
        self.holding.start()
        if self.use is not None:
            self.use.start()
        now_ns = next_ns = looked_ns = self._clock.boottime_ns()
        while not self._stop.wait(max(0, next_ns - now_ns) / NS_PER_SECOND):
            self._tick()
            now_ns = self._clock.boottime_ns()
            if now_ns - looked_ns > _LOOK_NS:
                looked_ns = now_ns
                self._look()
                self.log_tidy()
            interval_ns = self._settings.interval_ns
            next_ns += ((now_ns - next_ns) // interval_ns + 1) * interval_ns
        self._end()

    def stop(self) -> None:
        """Begin the orderly end."""
        self._stop.set()

    def _tick(self) -> None:
        found = self.holding.take()
        pods = self.pods.snapshot() if found else None
        sample = Sample(
            now=self._clock.now(),
            readings=self.sampler.take(),
            holds=found.holds if found else None,
            use=self.use.take() if self.use is not None else {},
            began=pods.began if pods else {},
            finished=pods.finished if pods else {},
        )
        before = self.log.next_seq
        self.meter.tick(sample, list(self.sampler.devices.values()))
        if self.log.next_seq != before:
            self.shipper.wake()

    def _look(self) -> None:
        """List the devices: new ones are read from now on."""
        devices = calibrated(self._reader.devices(), self._calibrations)
        self.sampler.watch(devices)
        self.inventory.see(devices, self._clock.now().utc)

    def log_tidy(self) -> None:
        """Remove and fold what the log need not keep."""
        with suppress(OSError, UnavailableError):
            self.log.tidy(self._clock.now().utc)

    def _use_claims(self) -> None:
        """Find out which ResourceSlices the cluster serves; asked again until there are some."""
        while not self._stop.is_set():
            try:
                version = served_version(self._api)
            except KubeError:
                self._stop.wait(10.0)
                continue
            if version is None:
                self.holding.claims = NoClaims()
                self._stop.wait(_CLAIMS_S)
                continue
            claims = NodeClaims(self._api, self._settings.node, version)
            claims.informer.start()
            self.holding.claims = claims
            return

    def _end(self) -> None:
        self.sampler.stop()
        self.holding.stop()
        if self.use is not None:
            self.use.stop()
        self._tick()
        self.meter.finish(self._clock.now())
        self.shipper.stop(DRAIN_S)
        self.pods.informer.stop()
        self.status.stop()
        self._reader.close()


def _node_uid(api: kubernetes_client.ApiClient, node: str) -> str:
    """The node's uid; its name where the cluster does not say."""
    try:
        found = listed(partial(kubernetes_client.CoreV1Api(api).read_node, node))
        return str(found["metadata"]["uid"])
    except (KubeError, KeyError):
        return node


def _parser() -> argparse.ArgumentParser:
    """All settings are variables of the environment; the command line has nothing but its help."""
    rows = [*SHARED, *VARIABLES]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"  {name:{width}}  {text}{f' [{default}]' if default else ''}" for name, default, text in rows]
    return argparse.ArgumentParser(
        prog="python -m joulegate_operators.node.main",
        description="Measure which pod draws which joule from the GPUs of this node, until SIGTERM or SIGINT.",
        epilog="\n".join(["variables:", *lines, "", "SIGHUP sends windows again that the API refused."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 after an orderly end, 1 where it cannot start, 2 for a wrong argument.

    SIGHUP sends windows again that the API refused.
    """
    _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        process = NodeProcess(settings, open_reader(settings.replay, settings.node))
    except JoulegateError as error:
        sys.stderr.write(f"joulegate-node: {error}\n")
        return 1

    def end(_number: int, _frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGHUP, lambda _number, _frame: process.shipper.retry())
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
