"""The ledger against a plain model of itself: any order of requests, draws, ends, corrections, repeats and restarts.

The model below is deliberately naive. It keeps lists, counts everything again each time, and
shares no code with the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from joulegate.core.budgets import Limits
from joulegate.core.units import Unit
from joulegate_api.store import Amounts, BudgetException, HoldState, Origin, ReasonCode, Store
from tests.api.store.examples import Clock, budget, demand, device, record, request

ROOTS = st.sampled_from(["a", "b", "c"])
ENERGY = st.integers(0, 500)
TENANTS = count()


@dataclass
class Part:
    boards: int
    held: int
    state: str
    drawn: int = 0
    allowed: bool = True

    @property
    def pending(self) -> int:
        return max(0, self.held - self.drawn) if self.state in {"unconfirmed", "confirmed"} else 0

    @property
    def lives(self) -> bool:
        return self.state in {"unconfirmed", "confirmed"}

    def answers(self, boards: int) -> bool:
        return self.lives and self.allowed and boards <= self.boards


@dataclass
class Posted:
    root: str
    energy: int
    reversed: bool = False


@dataclass
class Model:
    limit: int
    parts: dict[str, list[Part]] = field(default_factory=dict)
    posted: dict[str, Posted] = field(default_factory=dict)
    given: int = 0
    until: int = 0
    minute: int = 0

    def taken(self) -> int:
        pending = sum(part.pending for parts in self.parts.values() for part in parts)
        return pending + sum(each.energy for each in self.posted.values() if not each.reversed)

    def let_run_out(self) -> None:
        """An exception that has run out leaves what is used of it."""
        if self.given and self.minute >= self.until:
            self.limit += min(self.given, max(0, self.taken() - self.limit))
            self.given = 0

    def room(self) -> int:
        self.let_run_out()
        return self.limit + self.given - self.taken()

    def draw(self, root: str, energy: int) -> None:
        parts = [part for part in self.parts.get(root, []) if part.state not in {"expired", "replaced"}]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            take = energy if last else min(energy, max(0, part.held - part.drawn))
            part.drawn += take
            energy -= take

    def give_back(self, root: str, energy: int) -> None:
        for part in reversed([part for part in self.parts.get(root, []) if part.state not in {"expired", "replaced"}]):
            back = min(energy, part.drawn)
            part.drawn -= back
            energy -= back


class Ledger(RuleBasedStateMachine):
    """Every rule is done to the store and to the model; they must answer alike."""

    url = ""

    @initialize(limit=st.integers(0, 1_500))
    def begin(self, limit: int) -> None:
        self.clock = Clock()
        self.tenant = f"machine-{next(TENANTS)}"
        self.store = Store.open(self.url, self.tenant, self.clock)
        self.store.budgets.put(budget(limits=Limits(energy_mj=limit)), "admin")
        self.model = Model(limit)
        self.numbers = count()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.trial_balance.run().differences == ()
            self.store.close()

    @rule(root=ROOTS, boards=st.integers(1, 3), energy=ENERGY)
    def ask(self, root: str, boards: int, energy: int) -> None:
        verdict = self.store.ledger.decide(request(root, energy, demand=demand(boards)))
        parts = self.model.parts.setdefault(root, [])
        if any(part.answers(boards) for part in parts):
            assert verdict.allowed
            return
        more = max(0, energy - sum(part.held for part in parts if part.lives))
        fits = more <= self.model.room()
        assert verdict.allowed == fits
        if fits:
            parts.append(Part(boards, more, "unconfirmed"))

    @rule(root=ROOTS, boards=st.integers(1, 3), energy=ENERGY)
    def rehearse(self, root: str, boards: int, energy: int) -> None:
        verdict = self.store.ledger.decide(request(root, energy, demand=demand(boards)), dry_run=True)
        parts = self.model.parts.get(root, [])
        if not any(part.answers(boards) for part in parts):
            more = max(0, energy - sum(part.held for part in parts if part.lives))
            assert verdict.allowed == (more <= self.model.room())

    @rule(root=ROOTS, energy=ENERGY, again=st.booleans(), origin=st.sampled_from([Origin.EXTENDED, Origin.RENEWED]))
    def extend(self, root: str, energy: int, again: bool, origin: Origin) -> None:
        asked = request(root, energy, origin=origin, extension=f"x-{next(self.numbers)}", demand=demand(9))
        room = self.model.room()
        verdict = self.store.ledger.decide(asked)
        assert verdict.allowed == (energy <= room)
        if verdict.allowed or origin is Origin.RENEWED:
            self.model.parts.setdefault(root, []).append(Part(9, energy, "confirmed", allowed=verdict.allowed))
            assert not again or self.store.ledger.decide(asked) == verdict

    @rule(energy=ENERGY)
    def adopt(self, energy: int) -> None:
        root = f"adopted-{next(self.numbers)}"
        self.model.let_run_out()
        assert self.store.ledger.decide(request(root, energy, origin=Origin.ADOPTED)).allowed
        self.model.parts[root] = [Part(1, energy, "confirmed")]

    @rule(root=ROOTS)
    def confirm(self, root: str) -> None:
        self._step(root, lambda: self.store.holds.confirm("local", root, "operator"), "unconfirmed", "confirmed")

    @rule(root=ROOTS)
    def expire(self, root: str) -> None:
        self._step(root, lambda: self.store.holds.expire("local", root, {}), "unconfirmed", "expired")

    @rule(root=ROOTS)
    def release(self, root: str) -> None:
        if self.model.parts.get(root):
            self.model.let_run_out()
            self.store.holds.release("local", root, "operator")
            for part in self.model.parts[root]:
                if part.lives:
                    part.state = "closed"

    @rule(root=st.sampled_from(["a", "b", "c", "nobody"]), energy=ENERGY, again=st.booleans())
    def draw(self, root: str, energy: int, again: bool) -> None:
        record_id = f"r-{next(self.numbers)}"
        self.model.let_run_out()
        for _ in range(2 if again else 1):
            sent = record(record_id, devices=[device("GPU-1", energy)], run_uid=root)
            self.store.records.accept(sent, record_id, "somebody")
        held = any(part.state != "expired" for part in self.model.parts.get(root, []))
        self.model.posted[record_id] = Posted(
            root if held else "nobody", energy
        )  # what had no hold was not drawn from one
        self.model.draw(root, energy)

    @precondition(lambda self: self.model.posted)
    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        record_id = data.draw(st.sampled_from(sorted(self.model.posted)))
        posted = self.model.posted[record_id]
        self.model.let_run_out()
        assert self.store.corrections.reverse(record_id, ReasonCode.DUPLICATE, "admin") == (not posted.reversed)
        if not posted.reversed:
            posted.reversed = True
            self.model.give_back(posted.root, posted.energy)

    @precondition(lambda self: not self.model.given)
    @rule(energy=st.integers(1, 500), minutes=st.integers(1, 5))
    def relieve(self, energy: int, minutes: int) -> None:
        self.model.let_run_out()
        exception_id = f"e-{next(self.numbers)}"
        until = self.clock.now + timedelta(minutes=minutes)
        amount = Amounts(energy, 0, 0)
        asked = BudgetException(exception_id, "vision", ("vision",), amount, None, "why", None, "ann", until)
        self.store.exceptions.request(asked)
        self.store.exceptions.approve(exception_id, "bob")
        self.model.given, self.model.until = energy, self.model.minute + minutes

    @rule(minutes=st.integers(1, 3))
    def wait(self, minutes: int) -> None:
        self.clock.now += timedelta(minutes=minutes)
        self.model.minute += minutes

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store.open(self.url, self.tenant, self.clock)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        balance = self.store.budgets.balance("vision").balances[Unit.MJ]
        pending = sum(part.pending for parts in self.model.parts.values() for part in parts)
        assert balance.pending == pending
        assert balance.posted + balance.pending == self.model.taken()
        for root, parts in self.model.parts.items():
            if parts:
                assert [HoldState(part.state) for part in parts] == [
                    part.state for part in self.store.holds.get("local", root)
                ]

    def _step(self, root: str, do: object, before: str, after: str) -> None:
        if self.model.parts.get(root):
            self.model.let_run_out()
            do()  # type: ignore[operator]
            for part in self.model.parts[root]:
                if part.state == before:
                    part.state = after


@pytest.mark.timeout(300)
def test_the_ledger_agrees_with_a_plain_model_of_itself(database_url: str) -> None:
    machine = type("LedgerOnOneDatabase", (Ledger,), {"url": database_url})
    # Each step is a real transaction: a failure is shown as it was found, shrinking it would take minutes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    few = settings(max_examples=15, stateful_step_count=20, deadline=None, print_blob=True, phases=phases)
    run_state_machine_as_test(machine, settings=few)
