"""What a hold claims of one budget and period, and how much of it is still pending: one rule for every state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import bindparam, select, update

from joulegate_api.store.amounts import NOTHING, Amounts, total
from joulegate_api.store.balances import Key
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import LIVE, Held, HoldState
from joulegate_api.store.tables import hold_claims


@dataclass(slots=True)
class OpenClaim:
    """A claim of one part of a hold under the lock of its balance.

    ``unpriced`` is what was quoted for quarter-hours whose energy is posted and
    whose carbon or money is not known yet; the last live and the last released claim
    of a budget and period know it for all of their kind.
    """

    hold_id: str
    part: int
    state: HoldState
    key: Key
    held: Amounts
    given_back: Amounts
    drawn: Amounts
    pending: Amounts
    unpriced: Amounts = NOTHING
    before: Amounts = field(init=False)
    drawn_before: Amounts = field(init=False)
    given_back_before: Amounts = field(init=False)

    def __post_init__(self) -> None:
        """Remember what the balance counts now."""
        self.before, self.drawn_before, self.given_back_before = self.pending, self.drawn, self.given_back

    @property
    def rest(self) -> Amounts:
        """What was held and neither given back nor drawn."""
        return Amounts(
            *(
                max(0, (held or 0) - (back or 0) - (drawn or 0))
                for held, back, drawn in zip(self.held, self.given_back, self.drawn, strict=True)
            )
        )

    @property
    def change(self) -> Amounts:
        """How far what is pending changed since the claim was read."""
        return self.pending.plus(self.before.negated())


def claims_of(transaction: Transaction, parts: Iterable[Held]) -> dict[Key, list[OpenClaim]]:
    """The claims of these parts by budget and period, in the order of the parts."""
    by_id = {part.hold_id: part for part in parts}
    if not by_id:
        return {}
    of = hold_claims.c
    rows = transaction.connection.execute(
        select(hold_claims).where(of.tenant == transaction.tenant, of.hold_id.in_(list(by_id)))
    )
    found: dict[Key, list[OpenClaim]] = {}
    for row in rows:
        claim = OpenClaim(
            hold_id=row.hold_id,
            part=by_id[row.hold_id].part,
            state=by_id[row.hold_id].state,
            key=Key(row.budget, row.period_start),
            held=Amounts.read(row, "held"),
            given_back=Amounts.read(row, "given_back"),
            drawn=Amounts.read(row, "drawn"),
            pending=Amounts.read(row, "pending"),
        )
        found.setdefault(claim.key, []).append(claim)
    for claims in found.values():
        claims.sort(key=lambda claim: claim.part)
    return found


def settle(own: Sequence[OpenClaim]) -> None:
    """Let the states say what is pending in one budget and period, given every claim of the root on it.

    Live work keeps its rest, and no less than what was quoted for what is not priced; ended work keeps only that.
    """
    for claim in own:
        claim.pending = claim.rest if claim.state in LIVE else NOTHING
    live = [claim for claim in own if claim.state in LIVE]
    if live:
        rest = total(claim.rest for claim in live)
        short = zip(live[-1].unpriced, rest, strict=True)
        live[-1].pending = live[-1].pending.plus(Amounts(*(max(0, (a or 0) - (b or 0)) for a, b in short)))
    ended = [claim for claim in own if claim.state is HoldState.RELEASED]
    if ended:
        ended[-1].pending = ended[-1].unpriced


def draw(claims: Sequence[OpenClaim], amounts: Amounts) -> None:
    """Draw from each claim what it still has, and the excess from the last.

    Negative amounts are given back, to the last claim first and never more than was
    drawn: what was posted before there was a hold was not drawn from it.
    """
    for unit, amount in enumerate(amounts):
        left = amount or 0
        for claim in claims if left > 0 else reversed(claims):
            drawn = claim.drawn[unit] or 0
            room = left if claim is claims[-1] else claim.rest[unit] or 0
            taken = max(left, -drawn) if left < 0 else min(left, room)
            claim.drawn = Amounts(*(drawn + taken if place == unit else old for place, old in enumerate(claim.drawn)))
            left -= taken


_WRITE = update(hold_claims).where(
    hold_claims.c.hold_id == bindparam("b_hold"),
    hold_claims.c.budget == bindparam("b_budget"),
    hold_claims.c.period_start == bindparam("b_start"),
)


def write(transaction: Transaction, claims: Collection[OpenClaim]) -> None:
    """Write what changed."""
    rows = [
        {
            "b_hold": claim.hold_id,
            "b_budget": claim.key.budget,
            "b_start": claim.key.start,
            **claim.given_back.columns("given_back"),
            **claim.drawn.columns("drawn"),
            **claim.pending.columns("pending"),
        }
        for claim in claims
        if (claim.before, claim.drawn_before, claim.given_back_before) != (claim.pending, claim.drawn, claim.given_back)
    ]
    if rows:
        transaction.connection.execute(_WRITE.where(hold_claims.c.tenant == transaction.tenant), rows)
