"""Charges of node meters' windows computed again: rows added up, priced by rows of the log, held against the entry.

An entry says by which rates and to which budgets its windows were charged, and what stood there before. From
that and the windows themselves follow its charges; what one entry found there must be what another one left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Footprint, Rates
from joulegate.core.log import canonical
from joulegate.core.periods import format_instant, parse_instant, quarter_of
from joulegate.core.units import Energy

RateOf = Callable[[Sequence[str | None]], Rates]
"""From the ids of rows of site, location, market and price to the rows; raises KeyError where the log has none."""

_NOTHING: Final = Footprint(None, None, None, None)
_EMPTY: Final = (0, 0)


@dataclass(frozen=True, slots=True)
class Step:
    """What one quarter-hour of one subject on one device was charged at, and at what it is now."""

    budgets: tuple[str, ...]
    quarter: datetime
    before: Footprint
    after: Footprint


@dataclass(slots=True)
class Charged:
    """Takes what entries say of charges of windows, in any order."""

    rates: RateOf
    items: int = 0
    faults: list[str] = field(default_factory=list)
    _open: dict[tuple[bytes, int, int], int] = field(default_factory=dict)

    def windows(self, body: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Take an entry of a batch with its windows."""
        self._take(f"windows of {body.get('incarnation')}", body, self._of_windows(body, rows))

    def repriced(self, body: Mapping[str, Any]) -> None:
        """Take an entry of windows that were priced later, or anew."""
        self._take(f"windows of {body.get('root_uid')}, priced again", body, self._of_repriced(body))

    def closing_faults(self) -> Iterator[str]:
        """What can be said when every entry is known: nothing was found that nobody left, nothing was left out."""
        ends: set[bytes] = set()
        for (key, energy_mj, gpu_ns), count in self._open.items():
            if count < 0:
                yield f"{energy_mj} mJ and {gpu_ns} ns were found charged, and no entry had charged them"
            elif count > 1 or key in ends:
                yield f"{energy_mj} mJ and {gpu_ns} ns were charged, and a later entry did not find them"
            else:
                ends.add(key)

    def _take(self, what: str, body: Mapping[str, Any], steps: Iterable[Step]) -> None:
        try:
            self.faults += [f"{what}: {fault}" for fault in _differences(body["charges"], steps)]
        except (InvalidInputError, KeyError, TypeError, ValueError, AttributeError) as error:
            self.faults.append(f"{what}: its charges cannot be computed again: {error!r}")

    def _of_windows(self, body: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
        told = body["priced"]
        ids = {(each["device_uuid"], each["quarter"]): each["rates"] for each in told["rates"]}
        stood = {_place(each): (int(each["energy_mj"]), int(each["gpu_ns"])) for each in told["before"]}
        added: dict[tuple[str, str, str], tuple[int, int]] = {}
        for row in rows:
            self.items += 1
            if row["pod_uid"] is not None:
                quarter = format_instant(quarter_of(parse_instant(row["start"], "start")))
                place = (row["pod_uid"], row["device_uuid"], quarter)
                energy_mj, gpu_ns = added.get(place, _EMPTY)
                energy_mj += int(row["active_mj"]) + int(row["idle_mj"])
                added[place] = (energy_mj, gpu_ns + int(row["allocated_gpu_ns"]))
        if set(stood) - set(added):
            raise ValueError("tells what stood where nothing was added")
        for place, more in added.items():
            by, before = ids[place[1:]], stood.get(place, _EMPTY)
            after = (before[0] + more[0], before[1] + more[1])
            self._moved(body["cluster"], place, by, before, after)
            rates = self.rates(by)
            posted = _priced(rates, before) if place in stood else _NOTHING
            yield Step(tuple(told["budgets"][place[0]]), _instant(place), posted, _priced(rates, after))

    def _of_repriced(self, body: Mapping[str, Any]) -> Iterator[Step]:
        cluster = body["cluster"]
        cells = {(_place(each), tuple(each["rates"])): each for each in body["after"]}
        stand: dict[Any, tuple[int, int] | None] = {}
        for key, each in cells.items():
            found = each["stood"]
            stand[key] = None if found is None else (int(found["energy_mj"]), int(found["gpu_ns"]))
            self._moved(cluster, key[0], key[1], stand[key] or _EMPTY, (int(each["energy_mj"]), int(each["gpu_ns"])))
        for row in body["before"]:
            self.items += 1
            place, gone = _place(row), (int(row["energy_mj"]), int(row["gpu_ns"]))
            self._moved(cluster, place, row["rates"], gone, _EMPTY)
            key = (place, tuple(row["to"]))
            rates, stood = self.rates(key[1]), stand[key]
            now = (gone[0] + (stood or _EMPTY)[0], gone[1] + (stood or _EMPTY)[1])
            stand[key] = now
            budgets, quarter = tuple(row["budgets"]), _instant(place)
            yield Step(budgets, quarter, _priced(self.rates(row["rates"]), gone), _NOTHING)
            yield Step(budgets, quarter, _NOTHING if stood is None else _priced(rates, stood), _priced(rates, now))
        for key, each in cells.items():
            if stand[key] != (int(each["energy_mj"]), int(each["gpu_ns"])):
                raise ValueError("the energy that was priced again is not what was there")

    def _moved(
        self,
        cluster: str,
        place: tuple[str, str, str],
        ids: Sequence[str | None],
        before: tuple[int, int],
        after: tuple[int, int],
    ) -> None:
        """Remember what was left, and that what was found is no more."""
        key = sha256(canonical([cluster, *place, *ids])).digest()[:16]
        for amounts, change in ((before, -1), (after, 1)):
            state = (key, *amounts)
            count = self._open.get(state, 0) + change
            if amounts != _EMPTY and count:
                self._open[state] = count
            else:
                self._open.pop(state, None)


def _priced(rates: Rates, amounts: tuple[int, int]) -> Footprint:
    return rates.apply(Energy(amounts[0]), amounts[1])


def _place(told: Mapping[str, Any]) -> tuple[str, str, str]:
    return told["subject"], told["device_uuid"], told["quarter"]


def _instant(place: tuple[str, str, str]) -> datetime:
    return parse_instant(place[2], "quarter")


def _differences(told: Sequence[Mapping[str, Any]], steps: Iterable[Step]) -> Iterator[str]:
    """Where the charges that an entry tells are not those that follow from its steps.

    A step belongs to the period that begins last before its quarter-hour; where periods were
    closed, so that amounts landed in later ones, those of a budget are compared as one.
    """
    late = {row["budget"] for row in told if row["corrects_period"] is not None}
    starts: dict[str, list[tuple[datetime, str, str | None]]] = {}
    said: dict[tuple[str, str], list[int]] = {}
    for row in told:
        budget = row["budget"]
        starts.setdefault(budget, []).append(
            (parse_instant(row["period_start"], ""), row["period_start"], row["currency"])
        )
        own = said.setdefault((budget, "" if budget in late else row["period_start"]), [0, 0, 0])
        for index, unit in enumerate(("mj", "ug", "micros")):
            own[index] += int(row["posted"][unit] or 0)
    found = {place: [0, 0, 0] for place in said}
    for step in steps:
        for budget in step.budgets:
            held = [each for each in starts.get(budget, ()) if budget in late or each[0] <= step.quarter]
            if held:
                _, start, currency = max(held)
                place = (budget, "" if budget in late else start)
                for sign, known in ((-1, step.before), (1, step.after)):
                    for index, amount in enumerate(_amounts(known, currency)):
                        found[place][index] += sign * amount
            elif _amounts(step.before, None) != _amounts(step.after, None):
                yield f"charges nothing to {budget}, which was to be charged"
    for place, amounts in found.items():
        if amounts != said[place]:
            yield f"charged {said[place]} (mJ, ug, micros) to {place[0]}, and it comes to {amounts}"


def _amounts(known: Footprint, currency: str | None) -> tuple[int, int, int]:
    return (
        known.energy.mj if known.energy else 0,
        known.carbon_location.ug if known.carbon_location else 0,
        known.cost.micros if known.cost and known.cost.currency == currency else 0,
    )
