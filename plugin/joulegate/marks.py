"""Marks the work inside a program, so that its own energy is known beside the whole step's.

    with joulegate.work("predict", samples=len(x)) as w:
        for _ in w.repeat(seconds=3):
            model.predict(x)
        w.quality(accuracy=0.97, n=len(x))

Under ``joulegate-run`` the facts go to the runner by a file. Without one the
library measures by itself and sends a record of its own. Nothing here raises
into the work: what cannot be measured or kept is said on stderr.
"""

from __future__ import annotations

import contextlib
import operator
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, SupportsFloat, SupportsIndex

from joulegate import facts
from joulegate.clock import boottime_ns
from joulegate.facts import Fact, Facts, QualityFact, WorkFact

if TYPE_CHECKING:
    from joulegate.recording import Recording

NS_PER_SECOND: Final = 1_000_000_000


class Work:
    """One marked piece of work; made by :func:`work`."""

    def __init__(
        self, name: str, amounts: Mapping[str, SupportsIndex], kind: str, model: str | None, variant: str | None
    ) -> None:
        """Nothing is measured yet; the last three describe the record that the library makes where no runner does."""
        self._name, self._kind, self._model, self._variant = name, kind, model, variant
        self._unit, self._amount = _unit_and_amount(name, amounts)
        self._start_ns = 0
        self._windows: list[tuple[int, int, int]] = []
        self._inside_a_run = True
        self._recording: Recording | None = None
        self._facts: list[Fact] = []

    def __enter__(self) -> Self:
        """The window begins, unless ``repeat`` begins it later."""
        self._inside_a_run = facts.is_inside_a_run(os.environ)
        if not self._inside_a_run:
            self._recording = _begun()
        self._start_ns = boottime_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The window ends, unless ``repeat`` ended it before; no window is kept of work that failed."""
        end_ns = boottime_ns()
        windows = self._windows or [(self._start_ns, end_ns, 1)]
        if error is None and self._unit is not None:
            for start_ns, until_ns, repeats in windows:
                self._tell(WorkFact(self._name, self._unit, self._amount, repeats, start_ns, until_ns))
        if self._recording:
            self._conclude(self._recording, failed=error is not None)

    def repeat(self, *, seconds: float = 3.0) -> Iterator[int]:
        """Count 0, 1, ... until the loop has lasted ``seconds``; the window is then the loop alone.

        Sensors of GPUs look only part of the time, and are read at the window's
        edges to within one of their periods: below 3 s a figure says little.
        """
        least_ns = int(seconds * NS_PER_SECOND)
        done = 0
        start_ns = boottime_ns()
        try:
            while done == 0 or boottime_ns() - start_ns < least_ns:
                yield done
                done += 1
        finally:
            # A round that a break left is not counted, unless it is the only one.
            self._windows.append((start_ns, boottime_ns(), max(1, done)))

    def quality(
        self, *, n: SupportsIndex | None = None, higher_is_better: bool = True, **values: SupportsFloat
    ) -> None:
        """Say how good the work was: figures such as ``accuracy=0.97``, over ``n`` samples."""
        for name, value in values.items():
            try:
                samples = None if n is None else operator.index(n)
                self._tell(QualityFact(name, float(value), samples, higher_is_better))
            except (TypeError, ValueError) as error:
                _warn(f"{self._name}: {name} is not recorded: {error}")

    def _tell(self, fact: Fact) -> None:
        if not self._inside_a_run:
            self._facts.append(fact)
            return
        try:
            facts.append(Path(os.environ.get(facts.FILE, "")), fact)
        except (OSError, ValueError) as error:
            _warn(f"{self._name}: {fact.name} is not recorded: {error}")

    def _conclude(self, recording: Recording, *, failed: bool) -> None:
        from joulegate.core.records import Kind, RunOutcome  # noqa: PLC0415 -- see _begun
        from joulegate.delivery import deliver  # noqa: PLC0415
        from joulegate.identity import as_line, run_of  # noqa: PLC0415
        from joulegate.recording import Subject  # noqa: PLC0415

        try:
            recording.stop()
            run = run_of(sys.argv, os.environ, fresh_uid=recording.record_id, name=self._name)
            subject = Subject(run, Kind(self._kind), as_line(self._model), as_line(self._variant))
            outcome = RunOutcome.FAILED if failed else RunOutcome.SUCCEEDED
            record = recording.record(subject, outcome, Facts.of(self._facts))
            _warn(f"{self._name}: {recording.summary(record)}; {deliver(record, os.environ)}")
        except Exception as error:  # noqa: BLE001 -- the work is done; it does not fail because of its measuring
            _warn(f"{self._name}: no record: {error!r}")


def work(
    name: str, *, kind: str = "other", model: str | None = None, variant: str | None = None, **amount: SupportsIndex
) -> Work:
    """Mark a piece of work and how much of what it does once: ``work("predict", samples=n)``.

    The unit is the argument's name; without one the unit is ``runs``. ``kind``,
    ``model`` and ``variant`` describe the record that is made where there is no
    runner; under ``joulegate-run`` they are the runner's.
    """
    return Work(name, amount, kind, model, variant)


def _begun() -> Recording | None:
    """A recording that has started; imported only here, because under a runner nothing is measured inside."""
    from joulegate.recording import Recording  # noqa: PLC0415

    try:
        recording = Recording(os.environ)
        recording.start()
    except Exception as error:  # noqa: BLE001 -- the work goes on, unmeasured
        _warn(f"not measured: {error!r}")
        return None
    return recording


def _unit_and_amount(name: str, amounts: Mapping[str, SupportsIndex]) -> tuple[str | None, int]:
    if not amounts:
        return "runs", 1
    try:
        ((unit, value),) = amounts.items()
        amount = operator.index(value)
        if amount < 0:
            raise ValueError(f"{unit} is negative")  # noqa: TRY301 -- one way to say it
    except (TypeError, ValueError) as error:
        _warn(f"{name}: the work is not recorded: one amount, a whole number, is wanted: {error}")
        return None, 0
    return unit, amount


def _warn(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr may be closed, or not there at all
        print(f"joulegate: {line}", file=sys.stderr, flush=True)  # noqa: T201 -- the program around us has no logger
