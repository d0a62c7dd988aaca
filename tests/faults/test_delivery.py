"""F4: windows delivered one to five times, cut anew each time, shuffled and late by up to seven days.

The ledger is the one that a single delivery in order makes. How many windows is JOULEGATE_F4_WINDOWS; the figure of the
fault list is 100,000, the lanes take fewer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest
from sqlalchemy import select

from joulegate.core.budgets import Limits
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import QUARTER
from joulegate.core.units import Money
from joulegate_api.store import Store, Window, WindowBatch
from joulegate_api.store.meter_tables import charges, meters, quarantine, windows
from joulegate_api.store.tables import balances, hold_claims
from tests.api.store.examples import MORNING, Clock, budget, intensity, price, quote, request, site

WINDOWS: Final = int(os.environ.get("JOULEGATE_F4_WINDOWS", "4000"))
NODES: Final = 4
GPUS: Final = 8
A_QUARTER: Final = 5
LARGEST: Final = 1_000
LATE: Final = timedelta(days=7)
EACH_MJ: Final = 54_000_000
HELD_MJ: Final = 10 * EACH_MJ

pytestmark = [pytest.mark.timeout(3_000)]

IN_ORDER: Final = {
    charges: ("cluster", "subject", "device_uuid", "quarter", "rates_key"),
    balances: ("budget", "period_start"),
    hold_claims: ("hold_id", "budget", "period_start"),
    windows: ("incarnation", "window_seq"),
    meters: ("incarnation",),
    quarantine: ("incarnation", "window_seq"),
}
WHEN: Final = {"accepted_at", "seen_at"}


def windows_of(node: int) -> list[Window]:
    """Three minutes each, one pod a board, quarter-hour by quarter-hour."""
    made: list[Window] = []
    span = QUARTER / A_QUARTER
    for seq in range(WINDOWS // NODES):
        gpu, place = seq % GPUS, seq // GPUS
        begin = MORNING - (WINDOWS // NODES // GPUS + 1 - place) * span
        made.append(
            Window(
                window_seq=seq,
                device_uuid=f"GPU-{node}-{gpu}",
                start=begin,
                end=begin + span,
                energy_start_mj=place * EACH_MJ,
                energy_end_mj=(place + 1) * EACH_MJ,
                active_mj=EACH_MJ - 1 - seq % 7,
                idle_mj=seq % 7,
                allocated_gpu_ns=180 * 10**9,
                pod_uid=f"pod-{node}-{gpu}",
                namespace="vision",
                pod=f"trainer-{gpu}",
                container="main",
                method=Method.NVML_COUNTER,
                boundary=Boundary.ACCELERATOR,
                coverage=1.0,
                uncertainty=None,
            )
        )
    return made


def batch(node: int, own: list[Window]) -> WindowBatch:
    return WindowBatch("local", f"node-{node}", f"node-{node}/log", own[0].window_seq, tuple(own))


def cut(node: int, own: list[Window], chance: Random) -> Iterator[WindowBatch]:
    begin = 0
    while begin < len(own):
        size = chance.randint(1, LARGEST)
        yield batch(node, own[begin : begin + size])
        begin += size


def furnished(url: str, clock: Clock) -> Store:
    """Carbon, money, and a hold that the first windows of one pod draw down."""
    store = Store.open(url, clock=clock)
    store.budgets.put(budget(limits=Limits(10**18, 10**18, 10**18, "EUR")), "admin")
    store.rates.put_intensities([intensity(333_333_333)], "admin")
    store.rates.put_prices([price(277_777)], "admin")
    store.rates.put_sites([site(pue_ppm=1_234_567)], "admin")
    for node in range(NODES):
        asked = request(
            f"pod-{node}-0",
            quote(*[HELD_MJ // 2] * 2, start=MORNING - QUARTER, carbon_ug=10**9, cost=Money(10**6, "EUR")),
        )
        assert store.ledger.decide(asked).allowed
        store.holds.confirm("local", f"pod-{node}-0", "operator")
    return store


def standing(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Charges, balances, claims and windows to the unit, and all else but when they came."""
    found = {}
    with store._database.read() as connection:
        for table, order in IN_ORDER.items():
            columns = [column for column in table.c if column.name not in WHEN]
            query = select(*columns).order_by(*(table.c[name] for name in order))
            found[table.name] = [tuple(row) for row in connection.execute(query)]
    return found


@pytest.mark.postgres
def test_f4_windows_sent_again_cut_anew_shuffled_and_late_come_to_the_same_ledger(
    sqlite_url: str, postgres_url: str
) -> None:
    chance = Random(4)  # noqa: S311 -- a test
    sent = {node: windows_of(node) for node in range(NODES)}
    clean = furnished(sqlite_url, Clock())
    for node, own in sent.items():
        for begin in range(0, len(own), LARGEST):
            assert clean.windows.ingest(batch(node, own[begin : begin + LARGEST])).quarantined == ()

    clock = Clock()
    torn = furnished(postgres_url, clock)
    deliveries = [
        each
        for node, own in sent.items()
        for each in cut(node, own, chance)
        for _ in range(chance.choice((1, 1, 1, 2, 5)))
    ]
    deliveries += [each for node, own in sent.items() for each in cut(node, own, chance)]
    chance.shuffle(deliveries)
    for number, each in enumerate(deliveries):
        clock.now = MORNING + LATE * number / len(deliveries)
        assert torn.windows.ingest(each).quarantined == ()

    assert standing(torn) == standing(clean), "charges and balances are identical"
    assert len(standing(torn)["windows"]) == WINDOWS // NODES * NODES
    for store in (clean, torn):
        assert store.trial_balance.run().differences == ()
    delivered = sum(len(each.windows) for each in deliveries)
    sys.stdout.write(
        f"F4: {WINDOWS} windows in {len(deliveries)} deliveries of {delivered} windows: the same ledger as in order\n"
    )
    clean.close()
    torn.close()
