"""What is done by the clock inside the service: release, price, expire, close, check.

Every job may run in several replicas at once: each writes under the locks of the
rows that it changes, and finds nothing left to do where another was quicker. A
job that fails is logged, counted and tried again; it never ends its thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from joulegate.core.errors import ConflictError, JoulegateError
from joulegate_api.logs import log
from joulegate_api.metrics import Metrics
from joulegate_api.settings import Settings
from joulegate_api.store import Store

RETRY_S: Final = 60.0
"""Longest pause after a failure."""

PATIENCE_S: Final = 10.0
"""How long an end waits for a job that is at work."""

MOST_NAMED: Final = 100
"""Differences of a trial balance that are written to the log one by one."""

PRINCIPAL: Final = "timer"
"""Who closes a period that nobody closed."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again; ``work`` says how much it did."""

    name: str
    every_s: float
    work: Callable[[], int]


def jobs(settings: Settings, store: Store, metrics: Metrics) -> tuple[Job, ...]:
    """Every job of the service."""
    delay = timedelta(microseconds=settings.close_delay_ns // 1_000)
    return (
        Job("release", 30.0, store.releases.sweep),
        Job("expire", 30.0, store.due.expire_exceptions),
        Job("price", 300.0, store.pricing.price_unpriced),
        Job("close", 600.0, lambda: close_periods(store, delay)),
        Job("check", settings.check_every_ns / 1e9, lambda: check_balances(store, metrics)),
    )


def close_periods(store: Store, delay: timedelta) -> int:
    """Close every period that has been over for ``delay``, so that what was not used is carried on; how many."""
    done = 0
    for name, start in store.due.closable(delay):
        try:
            done += not store.closes.close(name, start, PRINCIPAL, delay).repeat
        except ConflictError as error:  # one budget's fault is no other's
            log.error("a period was not closed", budget=name, period_start=start.isoformat(), cause=str(error))
    return done


def check_balances(store: Store, metrics: Metrics) -> int:
    """Recompute every balance from the entries; what differs is logged to the row and counted."""
    found = store.trial_balance.run()
    metrics.checked(len(found.differences))
    for difference in found.differences[:MOST_NAMED]:
        log.error("balance differs", row=difference.row, kept=difference.kept, expected=difference.expected)
    if len(found.differences) > MOST_NAMED:
        log.error("more balances differ", rows=len(found.differences) - MOST_NAMED)
    return len(found.differences)


@contextmanager
def running(work: Sequence[Job], metrics: Metrics) -> Iterator[None]:
    """Do the jobs, each in a thread of its own, until the block ends."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=_repeat, args=(job, stop, metrics), name=f"timer-{job.name}", daemon=True)
        for job in work
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        until = time.monotonic() + PATIENCE_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def _repeat(job: Job, stop: threading.Event, metrics: Metrics) -> None:
    pause = job.every_s
    while not stop.wait(pause * random.uniform(0.8, 1.2)):  # noqa: S311 -- spreads replicas, keeps no secret
        pause = job.every_s if run_once(job, metrics, stop) else min(job.every_s, RETRY_S)


def run_once(job: Job, metrics: Metrics, stop: threading.Event | None = None) -> bool:
    """Do a job once; False where it failed, which is logged and counted and ends nothing."""
    try:
        job.work()
    except JoulegateError as error:
        log.error("a timer failed", job=job.name, cause=str(error))
    except Exception as error:  # noqa: BLE001 -- a slip in one run must not end what has to run again
        if stop is None or not stop.is_set():  # what fails because the service ends is no failure
            log.error("a timer failed", job=job.name, exc_info=error)
    else:
        metrics.ran(job.name, failed=False)
        return True
    metrics.ran(job.name, failed=True)
    return False
