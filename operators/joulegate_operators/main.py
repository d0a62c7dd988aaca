"""The operator's process: ``python -m joulegate_operators.main``, ended by SIGTERM or SIGINT."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final, Protocol

from joulegate.client import Client
from joulegate.core.errors import JoulegateError
from joulegate_operators.adoption import Adoption
from joulegate_operators.budgets import Budgets
from joulegate_operators.exceptions import Exceptions
from joulegate_operators.gates import Gates
from joulegate_operators.informer import Informer
from joulegate_operators.kube import connect
from joulegate_operators.kueue import Kueue
from joulegate_operators.namespaces import Labels, informer_of
from joulegate_operators.rates import Rates
from joulegate_operators.running import Running
from joulegate_operators.settings import Settings
from joulegate_operators.workloads import Workloads

_LONGEST_PAUSE_S: Final = 30.0
_GATHER_S: Final = 0.2
"""Changes come in bursts; those of this long are one pass."""


class Reconciler(Protocol):
    """Brings what it is for to where it should be, by what stands in the cluster now."""

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """What it watches by now; there may be more later."""

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass; raises :class:`JoulegateError`, and what was done until then stands."""


class Operator:
    """Passes over the cluster's objects, when something changed and at least every ``resync_s`` seconds."""

    def __init__(self, settings: Settings) -> None:
        """Know the cluster; raises :class:`UnavailableError` where no way to it is configured."""
        self._settings = settings
        self._stop = threading.Event()
        self._changed = threading.Event()
        kube = connect(settings.kubeconfig)
        spaces = informer_of(kube, self._changed)
        workloads = Workloads(kube, settings, spaces, self._changed)
        adoption = Adoption(settings, workloads)
        kueue = Kueue(kube, settings, workloads, self._changed)
        # In this order: a budget that an operator brings waits for its adoption, charges are priced by what is in
        # force, and an exception names budgets.
        self._reconcilers: Sequence[Reconciler] = (
            adoption,
            Rates(kube, self._changed),
            Budgets(kube, self._changed, kueue),
            Exceptions(kube, self._changed),
            Labels(kube, spaces, settings.namespace),
            workloads,
            adoption,
            Running(kube, settings, workloads),
            Gates(kube, settings, workloads),
            kueue,
        )
        self._informers: dict[str, Informer[Any]] = {}

    def run(self) -> None:
        """Work until :meth:`stop`. A pass that fails is told and tried again, with growing pauses."""
        failures = 0
        while not self._stop.is_set():
            self._watch()
            self._changed.wait(self._settings.resync_s)
            self._stop.wait(_GATHER_S)
            self._changed.clear()
            if self._pass():
                failures = 0
                continue
            failures += 1
            pause_s = min(_LONGEST_PAUSE_S, 0.5 * 2**failures)
            self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads retries
        for informer in self._informers.values():
            informer.stop()

    def _watch(self) -> None:
        """Begin to watch what is not watched yet."""
        for informer in (informer for each in self._reconcilers for informer in each.informers):
            if informer.name not in self._informers:
                self._informers[informer.name] = informer
                informer.start()

    def _pass(self) -> bool:
        """Every reconciler once; what one of them cannot do keeps no other from its work."""
        good = True
        for reconciler in self._reconcilers:
            try:
                # The client is made anew: the cluster renews the token in its file.
                reconciler.reconcile(Client.from_home(self._settings.environment), datetime.now(UTC))
            except JoulegateError as error:
                good = False
                sys.stderr.write(f"joulegate operator: {type(reconciler).__name__.lower()}: {error}\n")
        return good

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End after the pass that goes on."""
        self._stop.set()
        self._changed.set()


def main() -> int:
    """Run the operator with the settings of the environment; returns the exit status."""
    try:
        operator = Operator(Settings.from_environment(os.environ))
    except JoulegateError as error:
        sys.stderr.write(f"joulegate operator: {error}\n")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, operator.stop)
    operator.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
