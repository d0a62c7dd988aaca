"""The ledger against a plain model of itself: every rule is done to both, in any order, and they must agree.

The model (:mod:`tests.api.store.plain_model`) is deliberately naive and shares no code
with the store. A crash is an end of the transaction before it was committed; what was
sent is then sent again, to a store that was opened anew.
"""

from __future__ import annotations

import copy
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from joulegate.core.budgets import CarryOver, Enforcement, Limits
from joulegate.core.errors import ConflictError
from joulegate.core.footprint import Reference
from joulegate.core.periods import CalendarRule, CalendarUnit
from joulegate_api.store import (
    Amounts,
    BudgetException,
    Origin,
    ReasonCode,
    Store,
)
from tests.api.store.agreement import BEGIN, NAMES
from tests.api.store.examples import Clock, budget, demand, device, intensity, price, record, site
from tests.api.store.metered_rules import AGO, ENERGY, ROOTS, Metered
from tests.api.store.plain_model import Plain
from tests.api.store.plain_parts import BUDGETS, PUE_PPM, QUARTER, Part, Three, quarter_of, start_of

HOUR = timedelta(hours=1)
CARBON = st.one_of(*[st.integers(0, 1_000_000)] * 7, st.none())  # mostly known
MONEY = st.one_of(*[st.integers(0, 1_000)] * 7, st.none())
STEP = st.sampled_from([QUARTER, 5 * HOUR])
TENANTS = count()


class Ledger(Metered):
    """Every rule is done to the store and to the model; they must answer alike."""

    @initialize(
        energy=st.integers(2_000_000, 15_000_000),
        carbon=st.integers(500_000, 9_000_000),
        money=st.integers(500, 9_000),
        enforcement=st.sampled_from([Enforcement.DENY, Enforcement.WARN]),
        factor=st.sampled_from([0, 400_000_000, 700_000_001]),
        tariff=st.sampled_from([0, 300_000, 777_777]),
    )
    def begin(self, energy: int, carbon: int, money: int, enforcement: Enforcement, factor: int, tariff: int) -> None:
        self.clock = Clock(BEGIN)
        self.tenant = f"machine-{next(TENANTS)}"
        self.store = Store.open(self.url, self.tenant, self.clock)
        limits: dict[str, Three] = {"vision": (energy, carbon, money), "research": (energy, 2 * carbon, 3 * money)}
        above = budget(
            "research",
            period=CalendarRule(CalendarUnit.WEEK, "Asia/Kathmandu"),
            limits=Limits(energy, 2 * carbon, 3 * money, "EUR"),
            scope=None,
            enforcement=enforcement,
        )
        own = budget(
            period=CalendarRule(CalendarUnit.DAY),
            limits=Limits(energy, carbon, money, "EUR"),
            parent="research",
            carry_over=CarryOver.UNUSED,
        )
        self.store.budgets.put(above, "admin")
        self.store.budgets.put(own, "admin")
        self.store.rates.put_sites([site(pue_ppm=PUE_PPM)], "admin")
        binding = {"vision"} | ({"research"} if enforcement is Enforcement.DENY else set())
        self.model = Plain(limits, binding, BEGIN)
        self.numbers = count()
        self.minutes = {}
        self.seqs = {}
        self.kept_back = []
        self.sent = []
        if factor:
            self.publish_intensity(factor)
        if tariff:
            self.publish_price(tariff)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.trial_balance.run().differences == ()
            self.store.close()

    # holds

    @rule(
        root=ROOTS,
        boards=st.integers(1, 3),
        quarters=st.integers(1, 3),
        step=STEP,
        energy=ENERGY,
        carbon=CARBON,
        money=MONEY,
    )
    def ask(
        self, root: str, boards: int, quarters: int, step: timedelta, energy: int, carbon: int | None, money: int | None
    ) -> None:
        if self._waits(root):
            return
        quoted = self._quarters(quarters, step, energy, carbon, money)
        before = self._rehearsed(root, boards, quoted)
        assert self.store.ledger.decide(self._request(root, boards, quoted), dry_run=True).allowed == before
        verdict = self.store.ledger.decide(self._request(root, boards, quoted))
        self._hold(root, boards, quoted, "unconfirmed", verdict.allowed)

    @rule(
        root=ROOTS,
        quarters=st.integers(1, 3),
        step=STEP,
        energy=ENERGY,
        carbon=CARBON,
        money=MONEY,
        origin=st.sampled_from([Origin.EXTENDED, Origin.RENEWED]),
    )
    def extend(
        self,
        root: str,
        quarters: int,
        step: timedelta,
        energy: int,
        carbon: int | None,
        money: int | None,
        origin: Origin,
    ) -> None:
        if self._waits(root):
            return
        quoted = self._quarters(quarters, step, energy, carbon, money)
        asked = self._request(root, 9, quoted, origin=origin, extension=f"x-{next(self.numbers)}")
        self._ready(root)
        wanted = self.model.asks(root, quoted, growth=False)
        fits = self.model.fits(wanted)
        verdict = self.store.ledger.decide(asked)
        assert verdict.allowed == fits
        if fits or origin is Origin.RENEWED:
            part = Part(9, dict(quoted), "confirmed", self.clock.now, on_top=True, allowed=fits, held=wanted)
            self.model.parts[root].append(part)
            self.sent.append(lambda: self.store.ledger.decide(asked))

    @rule(root=ROOTS, boards=st.integers(1, 3), step=STEP, energy=ENERGY, carbon=CARBON, money=MONEY)
    def adopt(
        self, root: str, boards: int, step: timedelta, energy: int, carbon: int | None, money: int | None
    ) -> None:
        if self._waits(root):
            return
        quoted = self._quarters(2, step, energy, carbon, money)
        assert self.store.ledger.decide(self._request(root, boards, quoted, origin=Origin.ADOPTED)).allowed
        self._hold(root, boards, quoted, "confirmed", allowed=True, forced=True)

    @rule(root=ROOTS)
    def confirm(self, root: str) -> None:
        self._move(root, lambda: self.store.holds.confirm("local", root, "operator"), "confirmed")

    @rule(root=ROOTS)
    def expire(self, root: str) -> None:
        self._move(root, lambda: self.store.holds.expire("local", root, {}), "expired")

    @rule(root=ROOTS)
    def release(self, root: str) -> None:
        if self.model.parts[root]:
            self.model.let_run_out()
            self.store.holds.release("local", root, "operator")
            self.model.release(root)

    @rule(root=ROOTS, boards=st.integers(1, 2))
    def shrink(self, root: str, boards: int) -> None:
        if self.model.parts[root]:
            self.model.let_run_out()
            self.store.holds.shrink("local", root, demand(boards), "operator")
            self.model.shrink(root, boards)

    # energy

    @rule(
        root=st.sampled_from([*sorted(NAMES), "nobody"]),
        ago=AGO,
        energies=st.lists(ENERGY, min_size=1, max_size=2),
        self_reported=st.booleans(),
        crashes=st.booleans(),
    )
    def report(
        self,
        root: str,
        ago: timedelta,
        energies: list[int],
        self_reported: bool,
        crashes: bool,
    ) -> None:
        record_id = f"r-{next(self.numbers)}"
        first = quarter_of(self.clock.now - ago)
        sent = record(record_id, devices=[device(f"GPU-{record_id}", *energies, start=first)], run_uid=root)
        self.model.let_run_out()
        self._send(
            lambda: self.store.records.accept(sent, record_id, "somebody", self_reported=self_reported), crashes=crashes
        )
        before = copy.deepcopy(self.model.charges())
        held = any(part.state not in {"expired", "replaced"} for part in self.model.parts[root])
        for number, energy in enumerate(energies):
            charged = not (self_reported and self.model.metered)
            self.model.add(record_id, root if held else None, first + number * QUARTER, energy, charged=charged)
        self.model.post(before)

    @precondition(lambda self: any(lump.owner.startswith("r-") for lump in self.model.lumps))
    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        known = sorted({lump.owner for lump in self.model.lumps if lump.owner.startswith("r-")})
        record_id = data.draw(st.sampled_from(known))
        self.model.let_run_out()
        assert self.store.corrections.reverse(record_id, ReasonCode.DUPLICATE, "admin")
        self.model.take_back(record_id)
        self.sent.append(lambda: self.store.corrections.reverse(record_id, ReasonCode.DUPLICATE, "admin"))

    @rule(ug_per_kwh=st.integers(1, 900_000_000))
    def publish_intensity(self, ug_per_kwh: int) -> None:
        version = f"v-{next(self.numbers):04}"
        self.store.rates.put_intensities([intensity(ug_per_kwh, version=version)], "admin")
        self.model.factor = ug_per_kwh

    @rule(micros_per_kwh=st.integers(1, 900_000))
    def publish_price(self, micros_per_kwh: int) -> None:
        reference = Reference("tariff", f"v-{next(self.numbers):04}", "An Office", "CC-BY-4.0", "https://example.org/t")
        self.store.rates.put_prices([price(micros_per_kwh, reference=reference)], "admin")
        self.model.price = micros_per_kwh

    @rule()
    def price_unpriced(self) -> None:
        self._price(self.store.pricing.price_unpriced, BEGIN - 99 * HOUR, BEGIN + 9_999 * HOUR, only_unknown=True)

    @rule(ago=AGO, hours=st.integers(1, 30))
    def reprice(self, ago: timedelta, hours: int) -> None:
        since = quarter_of(self.clock.now - ago)
        until = since + hours * HOUR
        self._price(lambda: self.store.pricing.reprice(since, until, "admin", "why"), since, until, only_unknown=False)

    # budgets, periods, time

    @precondition(lambda self: self.model.given is None)
    @rule(
        energy=ENERGY,
        carbon=st.integers(0, 2_000_000),
        money=st.integers(1, 2_000),
        hours=st.sampled_from([1, 3, 20, 30]),
        names=st.sampled_from([("vision",), ("research", "vision")]),
    )
    def relieve(self, energy: int, carbon: int, money: int, hours: int, names: tuple[str, ...]) -> None:
        exception_id = f"e-{next(self.numbers)}"
        until = self.clock.now + hours * HOUR
        amount = Amounts(energy, carbon, money)
        asked = BudgetException(exception_id, "vision", names, amount, "EUR", "why", None, "ann", until)
        assert self.store.exceptions.request(asked)
        self.store.exceptions.approve(exception_id, "bob")
        self.model.given = (energy, carbon, money), until, [(name, start_of(name, self.clock.now)) for name in names]
        self.sent.append(lambda: self.store.exceptions.approve(exception_id, "bob"))

    @rule(name=st.sampled_from(BUDGETS), days=st.integers(0, 3))
    def close_period(self, name: str, days: int) -> None:
        at = max(BEGIN, self.clock.now - timedelta(days=days))
        key = name, start_of(name, at)
        self.model.let_run_out()
        if key in self.model.closed:
            assert self.store.closes.close(name, at, "admin", timedelta(0)).repeat
        elif self.model.close(key):
            self.store.closes.close(name, at, "admin", timedelta(0))
            self.sent.append(lambda: self.store.closes.close(name, at, "admin", timedelta(0)))
        else:
            with pytest.raises(ConflictError):
                self.store.closes.close(name, at, "admin", timedelta(0))

    @rule()
    def restart(self) -> None:
        self.reopen()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Whatever was sent may come again; it changes nothing."""
        data.draw(st.sampled_from(self.sent))()


def _run(url: str, examples: int, steps: int) -> None:
    machine = type("LedgerOnOneDatabase", (Ledger,), {"url": url})
    # Each step is a real transaction: a failure is shown as it was found, shrinking it would take minutes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    few = settings(max_examples=examples, stateful_step_count=steps, deadline=None, print_blob=True, phases=phases)
    run_state_machine_as_test(machine, settings=few)


@pytest.mark.timeout(300)
def test_the_ledger_agrees_with_a_plain_model_of_itself(database_url: str) -> None:
    _run(database_url, 5, 25)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ledger_agrees_with_its_model_over_long_lives(sqlite_url: str) -> None:
    _run(sqlite_url, 40, 50)
