"""A ledger without a database, kept deliberately naive: it counts everything again each time.

It shares no code with the store. Two budgets bind all work: ``vision`` has UTC days and
carries on what was not used, ``research`` above it has weeks of Kathmandu (UTC+05:45,
no daylight saving). Amounts are [energy mJ, carbon ug, money micros].
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from fractions import Fraction
from math import ceil

from tests.api.store.plain_meters import MINUTE, PlainMeters
from tests.api.store.plain_parts import (
    BUDGETS,
    CARRIES,
    DEAD,
    GRACE,
    LIVE,
    QUARTER,
    Estimate,
    Key,
    Lump,
    Part,
    Quarters,
    Three,
    end_of,
    quarter_of,
    start_of,
)


class Plain:
    """Everything that is known, and the questions that the store must answer alike."""

    def __init__(self, limits: dict[str, Three], binding: set[str], now: datetime) -> None:
        self.limits, self.binding, self.now, self.written = limits, binding, now, now
        self.factor: int | None = None
        self.price: int | None = None
        self.parts: dict[str, list[Part]] = defaultdict(list)
        self.names: dict[str, str] = {}
        self.lumps: list[Lump] = []
        self.posted: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.carried: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.kept: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.landed: dict[str, dict[Key, list[int]]] = {}
        self.closed: set[Key] = set()
        self.given: tuple[Three, datetime, list[Key]] | None = None
        self.metered = False
        self.meters = PlainMeters()
        self.ended: dict[str, datetime] = {}
        self.estimates: list[Estimate] = []

    # what stands

    def pending(self, key: Key, unit: int) -> int:
        return sum(self._pending_of(root, key, unit) for root in self.parts)

    def _pending_of(self, root: str, key: Key, unit: int) -> int:
        own = [part for part in self.parts[root] if key in part.held]
        live = [part for part in own if part.state in LIVE]
        ended = [part for part in own if part.state == "released"]
        waits = self._waits(root, key, unit, LIVE)
        rest = sum(part.rest(key, unit) for part in live)
        found = max(rest, waits) if live and live[-1].held[key][unit] is not None else rest
        if ended and ended[-1].held[key][unit] is not None:
            found += self._waits(root, key, unit, (*LIVE, "released")) - waits
        return found

    def _waits(self, root: str, key: Key, unit: int, states: tuple[str, ...]) -> int:
        """What was quoted for quarter-hours of which energy is posted and this unit is not known."""
        parts = [part for part in self.parts[root] if part.state in states]
        missing = {
            lump.quarter
            for lump in self.lumps
            if lump.root == root
            and lump.charged
            and lump.amounts()[unit] is None
            and key[1] <= lump.quarter < end_of(key)
        }
        return sum(quoted(parts, quarter, unit) for quarter in missing)

    def taken(self, key: Key, unit: int) -> int:
        return self.posted[key][unit] + self.pending(key, unit)

    def granted(self, key: Key, unit: int) -> int:
        return (self.given[0][unit] or 0) if self.given and key in self.given[2] else 0

    def limit(self, key: Key, unit: int) -> int:
        return (self.limits[key[0]][unit] or 0) + self.carried[key][unit]

    def exceptions(self, key: Key, unit: int) -> int:
        return self.kept[key][unit] + self.granted(key, unit)

    def room(self, key: Key, unit: int) -> int:
        return self.limit(key, unit) + self.exceptions(key, unit) - self.taken(key, unit)

    def let_run_out(self) -> None:
        """An exception that has run out leaves what is used of it."""
        if self.given and self.now >= self.given[1]:
            for key in self.given[2]:
                for unit in range(3):
                    beyond = self.taken(key, unit) - self.limit(key, unit) - self.kept[key][unit]
                    self.kept[key][unit] += max(0, min(beyond, self.granted(key, unit)))
            self.given = None

    # holds

    def asks(self, root: str, quarters: Quarters, *, growth: bool) -> dict[Key, list[int | None]]:
        asked: dict[Key, list[int | None]] = {}
        for budget in BUDGETS:
            for quarter, amounts in quarters.items():
                own = asked.setdefault((budget, start_of(budget, quarter)), [0, 0, 0])
                own[:] = [None if a is None or b is None else a + b for a, b in zip(own, amounts, strict=True)]
        live = [part for part in self.parts[root] if part.state in LIVE] if growth else []
        for key, own in asked.items():
            for unit, amount in enumerate(own):
                there = sum(part.keeps(key, unit) for part in live if key in part.held)
                own[unit] = None if amount is None else max(0, amount - there)
        return asked

    def fits(self, asked: dict[Key, list[int | None]]) -> bool:
        return all(
            amount is not None and amount <= self.room(key, unit)
            for key, own in asked.items()
            if key[0] in self.binding
            for unit, amount in enumerate(own)
        )

    def replace_namesakes(self, root: str) -> None:
        for other, name in self.names.items():
            if other != root and name == self.names[root]:
                self.move(other, "unconfirmed", "replaced")

    def move(self, root: str, before: str, after: str) -> None:
        for part in self.parts[root]:
            if part.state == before:
                part.state = after

    def release(self, root: str) -> None:
        for state in LIVE:
            self.move(root, state, "released")
        self.close_if_priced(root)

    def close_if_priced(self, root: str) -> None:
        """A hold is closed when nothing of what has ended is pending any more."""
        keys = {key for part in self.parts[root] if part.state == "released" for key in part.held}
        both = (*LIVE, "released")
        if not any(
            self._waits(root, key, unit, both) - self._waits(root, key, unit, LIVE) and self._known(root, key, unit)
            for key in keys
            for unit in range(3)
        ):
            self.move(root, "released", "closed")

    # the end of work

    def end(self, root: str) -> None:
        """The work is gone: since its last pod ended, or since now."""
        ends = [ended for _, ended in self.meters.pods.get(root, []) if ended is not None]
        self.ended.setdefault(root, max(ends, default=self.now))
        self.settle(root)

    def settle(self, root: str) -> None:
        """Release what has ended, once it was measured; after 72 hours without, once it was estimated."""
        if root not in self.ended or not any(part.state in LIVE for part in self.parts[root]):
            return
        gaps = self._uncovered(root)
        if gaps and self.metered:
            if self.now < self.ended[root] + GRACE:
                return
            self._estimate(root, gaps)
        self.release(root)

    def _uncovered(self, root: str) -> dict[datetime, int]:
        begin = min(part.decided for part in self.parts[root])
        minutes = self.meters.uncovered(root, begin, self.ended[root])
        return {quarter: sum(quarter_of(m) == quarter for m in minutes) for quarter in map(quarter_of, minutes)}

    def _estimate(self, root: str, gaps: dict[datetime, int]) -> None:
        live = [part for part in self.parts[root] if part.state in LIVE]
        for key in {key for part in live for key in part.held}:
            rest = [sum(part.rest(key, unit) for part in live if key in part.held) for unit in range(3)]
            made: dict[datetime, tuple[int, list[int]]] = {}
            for quarter in sorted(gaps):
                if key[1] <= quarter < end_of(key):
                    taken = [min(rest[unit], self._expected(root, quarter, gaps[quarter], unit)) for unit in range(3)]
                    rest = [left - amount for left, amount in zip(rest, taken, strict=True)]
                    made[quarter] = gaps[quarter], taken
            whole = [sum(taken[unit] for _, taken in made.values()) for unit in range(3)]
            if any(whole):
                self._land("estimates", self._open(key), whole)
                self.estimates.append(Estimate(root, key, made))

    def _expected(self, root: str, quarter: datetime, minutes: int, unit: int) -> int:
        """As quoted for the part of the quarter-hour that was quoted, else as quoted on average; rounded up."""
        parts = [part for part in self.parts[root] if part.state not in DEAD]
        quarters = all_quarters(parts)
        if quarter in quarters:
            begin = max(quarter, min(part.decided for part in self.parts[root]))
            span = (quarter + QUARTER - begin) // MINUTE
            return ceil(Fraction(quoted(parts, quarter, unit) * min(minutes, span), span))
        return ceil(Fraction(sum(quoted(parts, each, unit) for each in quarters) * minutes, 15 * len(quarters)))

    def reconcile(self, root: str) -> None:
        """Take back of each estimate what was measured since; one that is taken back whole is done."""
        for estimate in [estimate for estimate in self.estimates if estimate.root == root]:
            left = self._uncovered(root)
            posted, back = [0, 0, 0], [0, 0, 0]
            for quarter, (minutes, amounts) in estimate.quarters.items():
                measured = minutes - min(minutes, left.get(quarter, 0))
                posted = [a + b for a, b in zip(posted, amounts, strict=True)]
                back = [a + b * measured // minutes for a, b in zip(back, amounts, strict=True)]
            change = [a - b for a, b in zip(estimate.back, back, strict=True)]
            self._land("estimates", self._open(estimate.key), change)
            estimate.back = back
            if back == posted:
                self.estimates.remove(estimate)

    def _known(self, root: str, key: Key, unit: int) -> bool:
        ended = [part for part in self.parts[root] if part.state == "released" and key in part.held]
        return ended[-1].held[key][unit] is not None

    def shrink(self, root: str, boards: int) -> None:
        live = [part for part in self.parts[root] if part.state in LIVE]
        larger = [part for part in live if part.boards > boards]
        before = {quarter: [quoted(live, quarter, unit) for unit in range(3)] for quarter in all_quarters(live)}
        for part in larger:
            for quarter, amounts in part.quarters.items():
                if part.state == "unconfirmed" or quarter >= self.now:
                    less = [None if a is None else -(-a * boards // part.boards) for a in amounts]
                    part.quarters[quarter] = (less[0], less[1], less[2])
            part.boards = boards
        for key in {key for part in live for key in part.held} if larger else ():
            for unit in range(3):
                left = sum(
                    was[unit] - quoted(live, quarter, unit)
                    for quarter, was in before.items()
                    if key[1] <= quarter < end_of(key)
                )
                for part in reversed([part for part in live if key in part.held]):
                    back = min(left, part.rest(key, unit))
                    part.gone[key][unit] += back
                    left -= back

    # energy

    def add(self, owner: str, root: str | None, quarter: datetime, energy: int, *, charged: bool = True) -> None:
        """Windows of a root in a quarter-hour at one price are one lump; a slice of a record is a lump of its own."""
        lump = Lump(owner, root, quarter, energy, self.factor, self.price, charged)
        same = (owner, root, quarter, lump.factor, lump.price)
        for there in self.lumps:
            if (
                not owner.startswith("r-")
                and (there.owner, there.root, there.quarter, there.factor, there.price) == same
            ):
                there.energy += energy
                return
        self.lumps.append(lump)

    def price_again(self, since: datetime, until: datetime, *, only_unknown: bool) -> None:
        for lump in [lump for lump in self.lumps if since <= lump.quarter < until]:
            factor = lump.factor if only_unknown and lump.factor is not None else self.factor
            price = lump.price if only_unknown and lump.price is not None else self.price
            if (factor, price) != (lump.factor, lump.price):
                self.lumps.remove(lump)
                kept = self.factor, self.price
                self.factor, self.price = factor, price
                self.add(lump.owner, lump.root, lump.quarter, lump.energy, charged=lump.charged)
                self.factor, self.price = kept

    def charges(self) -> dict[str, tuple[str | None, dict[Key, list[int]]]]:
        """What every record, and the windows of every root, are charged by now, by the period of their energy."""
        found: dict[str, tuple[str | None, dict[Key, list[int]]]] = {}
        for lump in self.lumps:
            _, own = found.setdefault(lump.owner, (lump.root, defaultdict(lambda: [0, 0, 0])))
            for budget in BUDGETS if lump.charged else ():
                amounts = own[(budget, start_of(budget, lump.quarter))]
                amounts[:] = [a + (b or 0) for a, b in zip(amounts, lump.amounts(), strict=True)]
        return found

    def post(self, before: dict[str, tuple[str | None, dict[Key, list[int]]]]) -> None:
        """Post how the charges changed since ``before``: late ones to the open period, draws where they belong."""
        for owner, (root, own) in sorted(self.charges().items(), key=lambda item: item[0]):  # records, then windows
            was = before.get(owner, (root, {}))[1]
            for key in {*own, *was}:
                change = [a - b for a, b in zip(own.get(key, [0] * 3), was.get(key, [0] * 3), strict=True)]
                self._land(owner, self._open(key), change)
                if root is not None:
                    self._draw(root, key, change)

    def take_back(self, record: str) -> None:
        """Undo a record where it landed, and give back to the claims that it was drawn from."""
        root, own = self.charges()[record]
        self.lumps = [lump for lump in self.lumps if lump.owner != record]
        back = {key: [-amount for amount in amounts] for key, amounts in self.landed.get(record, {}).items()}
        for key, amounts in back.items():
            self._land(record, self._open(key), amounts)
        for key, amounts in own.items():
            if root is not None:
                self._draw(root, key, [-amount for amount in amounts])
        if root is not None:
            self.close_if_priced(root)

    def _open(self, key: Key) -> Key:
        return (key[0], start_of(key[0], self.now)) if key in self.closed else key

    def _land(self, owner: str, key: Key, amounts: list[int]) -> None:
        own = self.landed.setdefault(owner, {}).setdefault(key, [0, 0, 0])
        for unit, amount in enumerate(amounts):
            own[unit] += amount
            self.posted[key][unit] += amount

    def _draw(self, root: str, key: Key, change: list[int]) -> None:
        parts = [part for part in self.parts[root] if part.state not in DEAD and key in part.held]
        for unit, amount in enumerate(change):
            left = amount
            for part in parts if left > 0 else reversed(parts):
                room = left if part is parts[-1] else part.rest(key, unit)
                taken = min(left, room) if left > 0 else max(left, -part.drawn[key][unit])
                part.drawn[key][unit] += taken
                left -= taken

    # periods

    def close(self, key: Key) -> bool:
        """Close a period and carry on what was not used; False where it cannot be closed yet."""
        before = (key[0], start_of(key[0], key[1] - QUARTER))
        if self.now < end_of(key):
            return False
        if CARRIES[key[0]] and end_of(before) > self.written and before not in self.closed:
            return False
        for unit in range(3) if CARRIES[key[0]] else ():
            unused = max(0, self.limit(key, unit) - self.taken(key, unit))
            self.carried[(key[0], end_of(key))][unit] += unused
        self.closed.add(key)
        return True


def quoted(parts: list[Part], quarter: datetime, unit: int) -> int:
    """What parts quote for a quarter-hour: the largest of the demands, and what was held on top."""
    whole = [part.quarters[quarter][unit] or 0 for part in parts if quarter in part.quarters and not part.on_top]
    on_top = [part.quarters[quarter][unit] or 0 for part in parts if quarter in part.quarters and part.on_top]
    return max(whole, default=0) + sum(on_top)


def all_quarters(parts: list[Part]) -> set[datetime]:
    return {quarter for part in parts for quarter in part.quarters}
