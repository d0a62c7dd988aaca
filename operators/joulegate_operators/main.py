"""The operator's process: ``python -m joulegate_operators.main``, ended by SIGTERM or SIGINT."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Final

from joulegate.client import Client
from joulegate.core.errors import JoulegateError
from joulegate_operators.budgets import Budgets
from joulegate_operators.kube import connect
from joulegate_operators.settings import Settings

_LONGEST_PAUSE_S: Final = 30.0
_GATHER_S: Final = 0.2
"""Changes come in bursts; those of this long are one pass."""


class Operator:
    """Passes over the cluster's objects, when something changed and at least every ``resync_s`` seconds."""

    def __init__(self, settings: Settings) -> None:
        """Know the cluster; raises :class:`UnavailableError` where no way to it is configured."""
        self._settings = settings
        self._stop = threading.Event()
        self.budgets = Budgets(connect(settings.kubeconfig), partial(Client.from_home, settings.environment))

    def run(self) -> None:
        """Work until :meth:`stop`. A pass that fails is told and tried again, with growing pauses."""
        changed = self.budgets.informer.changed
        self.budgets.informer.start()
        failures = 0
        while not self._stop.is_set():
            changed.wait(self._settings.resync_s)
            self._stop.wait(_GATHER_S)
            changed.clear()
            try:
                self.budgets.reconcile(datetime.now(UTC))
                failures = 0
            except JoulegateError as error:
                failures += 1
                sys.stderr.write(f"joulegate operator: {error}\n")
                pause_s = min(_LONGEST_PAUSE_S, 0.5 * 2**failures)
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads retries
        self.budgets.informer.stop()

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End after the pass that goes on."""
        self._stop.set()
        self.budgets.informer.changed.set()


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
