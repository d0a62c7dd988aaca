"""How the store and its plain model are compared, and how one rule is done to both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import select

from joulegate.core.metering import Boundary, Method
from joulegate.core.quotes import QuarterAmount, Quote
from joulegate.core.units import Money, Unit
from joulegate_api.store import HoldRequest, HoldState, Store, Window
from joulegate_api.store.balances import Accounts
from joulegate_api.store.tables import balances
from tests.api.store.examples import REFERENCE, Clock, demand, request
from tests.api.store.plain_model import Plain
from tests.api.store.plain_parts import BUDGETS, Part, Quarters, end_of, quarter_of, start_of

BEGIN = datetime(2026, 11, 24, 17, 20, tzinfo=UTC)
NAMES = {"a": "a", "b": "b", "c": "c", "first-twin": "twin", "second-twin": "twin"}
NODES = {"a": "node-1", "b": "node-1", "c": "node-2", "first-twin": "node-2", "second-twin": "node-2"}
"""Where the GPU of each root is, whose meter measures it; pods may be on any node, on one without a meter too."""
DEVICE_MJ = 10**8


class CrashError(Exception):
    """The process ended here."""


class Agreement(RuleBasedStateMachine):
    """A store, its model, and what must be the same in both after every rule."""

    url = ""
    clock: Clock
    tenant: str
    store: Store
    model: Plain
    sent: list[Callable[[], object]]

    def reopen(self) -> None:
        """What a new process does."""
        self.store.close()
        self.store = Store.open(self.url, self.tenant, self.clock)

    @invariant()
    def balances_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        self.model.let_run_out()
        with self.store._database.read() as connection:
            rows = list(connection.execute(select(balances).where(balances.c.tenant == self.tenant)))
        for row in rows:
            key = row.budget, row.period_start
            assert row.period_end == end_of(key)
            stems = ("posted", "pending", "carried")
            kept = {stem: [getattr(row, f"{stem}_{unit.value}") for unit in Unit] for stem in stems}
            pending = [self.model.pending(key, unit) for unit in range(3)]
            posted, carried = self.model.posted[key], self.model.carried[key]
            model = {"posted": posted, "pending": pending, "carried": carried}
            assert kept == model, f"{key}: {kept} is kept, {model} expected"
        there = {(row.budget, row.period_start) for row in rows}
        assert {key for key, own in self.model.posted.items() if any(own)} <= there

    @invariant()
    def limits_agree(self) -> None:
        """What people are shown of the periods that run, exceptions and debt included."""
        if not hasattr(self, "store"):
            return
        for name in BUDGETS:
            key = name, start_of(name, self.clock.now)
            for number, unit in enumerate(Unit):
                balance = self.store.budgets.balance(name).balances[unit]
                assert balance.exceptions == self.model.exceptions(key, number)
                assert balance.available == self.model.room(key, number)
                assert balance.debt == max(0, -self.model.room(key, number))

    @invariant()
    def states_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        for root, parts in self.model.parts.items():
            if parts:
                states = [part.state for part in self.store.holds.get("local", root)]
                assert [HoldState(part.state) for part in parts] == states

    # how

    def _quarters(self, number: int, step: timedelta, energy: int, carbon: int | None, money: int | None) -> Quarters:
        first = quarter_of(self.clock.now)
        return {first + each * step: (energy, carbon, money) for each in range(number)}

    def _request(self, root: str, boards: int, quarters: Quarters, **other: Any) -> HoldRequest:
        quote = Quote(
            tuple(
                QuarterAmount(quarter, mj or 0, ug, None if micros is None else Money(micros, "EUR"))
                for quarter, (mj, ug, micros) in quarters.items()
            ),
            (REFERENCE,),
            "prior",
            0,
            "an example",
        )
        return request(root, quote, name=NAMES[root], demand=demand(boards), **other)

    def _ready(self, root: str) -> None:
        self.model.let_run_out()
        self.model.names[root] = NAMES[root]
        self.model.replace_namesakes(root)

    def _rehearsed(self, root: str, boards: int, quarters: Quarters) -> bool:
        there = self.model
        self.model = copy.deepcopy(there)
        self._ready(root)
        answers = any(part.answers(boards) for part in self.model.parts[root])
        fits = answers or self.model.fits(self.model.asks(root, quarters, growth=True))
        self.model = there
        return fits

    def _waits(self, root: str) -> bool:
        """Whether a root is over, for its uid never comes back, or is held and has energy that waits for a price.

        What it keeps for that is weighed anew as it is drawn, not as it grows: that is left to tests of its own.
        """
        if root in self.model.ended:
            return True
        held = any(part.state not in {"expired", "replaced"} for part in self.model.parts[root])
        return held and any(lump.root == root and None in lump.amounts() for lump in self.model.lumps)

    def _hold(
        self, root: str, boards: int, quarters: Quarters, state: str, allowed: bool, *, forced: bool = False
    ) -> None:
        self._ready(root)
        if any(part.answers(boards) for part in self.model.parts[root]):
            assert allowed
            return
        asked = self.model.asks(root, quarters, growth=True)
        fits = self.model.fits(asked)
        assert allowed == (fits or forced)
        if allowed:
            self.model.parts[root].append(Part(boards, dict(quarters), state, self.clock.now, held=asked))

    def _move(self, root: str, do: Callable[[], object], after: str) -> None:
        if self.model.parts[root]:
            self.model.let_run_out()
            do()
            self.model.move(root, "unconfirmed", after)

    def _price(self, do: Callable[[], int], since: datetime, until: datetime, *, only_unknown: bool) -> None:
        self.model.let_run_out()
        do()
        before = copy.deepcopy(self.model.charges())
        self.model.price_again(since, until, only_unknown=only_unknown)
        self.model.post(before)
        for root in list(self.model.parts):
            self.model.close_if_priced(root)

    def _send(self, do: Callable[[], object], *, crashes: bool) -> None:
        """Send; where it crashes nothing was kept, the store is opened anew and the sender sends again."""
        if crashes:
            with patch.object(Accounts, "write", side_effect=CrashError), pytest.raises(CrashError):
                do()
            self.reopen()
        do()
        self.sent.append(do)


def window_of(seq: int, root: str, start: datetime, energy_mj: int) -> Window:
    minute = int((start - BEGIN) / timedelta(minutes=1)) + 10_000
    return Window(
        window_seq=seq,
        device_uuid=f"GPU-of-{root}",
        start=start,
        end=start + timedelta(minutes=1),
        energy_start_mj=minute * DEVICE_MJ,
        energy_end_mj=(minute + 1) * DEVICE_MJ,
        active_mj=energy_mj,
        idle_mj=0,
        allocated_gpu_ns=60 * 10**9,
        pod_uid=root,
        namespace="vision",
        pod="p",
        container="c",
        method=Method.NVML_COUNTER,
        boundary=Boundary.ACCELERATOR,
        coverage=1.0,
        uncertainty=None,
    )
