"""Budgets as values, and the one pure function that decides.

``decide()`` is given what is asked of each budget, period and unit, and what is
available there. It answers a :class:`Verdict`; whoever calls it holds, logs and
explains that same value. It writes nothing and knows no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Final

from joulegate.core.periods import Period, PeriodRule
from joulegate.core.units import Unit


class Enforcement(StrEnum):
    """What a budget does with a request that does not fit, from the mildest to the strictest."""

    AUDIT = "Audit"
    WARN = "Warn"
    QUEUE = "Queue"
    DENY = "Deny"

    @property
    def binds(self) -> bool:
        """Whether this enforcement keeps work out."""
        return self in (Enforcement.QUEUE, Enforcement.DENY)


class WhenUndecidable(StrEnum):
    """What happens to a request that cannot be decided."""

    ALLOW = "Allow"
    DENY = "Deny"


class OnExhausted(StrEnum):
    """What happens to running work when a budget is exhausted."""

    CONTINUE = "Continue"
    SUSPEND = "Suspend"
    SUSPEND_ALL = "SuspendAll"


class CarryOver(StrEnum):
    """What of a period's rest is carried into the next."""

    NONE = "None"
    UNUSED = "Unused"


class Outcome(StrEnum):
    """What becomes of a request."""

    ALLOW = "allow"
    WARN = "warn"
    QUEUE = "queue"
    DENY = "deny"


class Reason(StrEnum):
    """Why: a closed list, part of the public contract. :data:`SENTENCES` says each in words."""

    WITHIN_BUDGET = "WithinBudget"
    HELD_LATER = "HeldLater"
    NO_BUDGET = "NoBudget"
    WARNED = "Warned"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    ESTIMATE_EXCEEDS_AVAILABLE = "EstimateExceedsAvailable"
    EXCEPTION_GRANTED = "ExceptionGranted"
    ADMITTED_OWNER = "AdmittedOwner"
    ADOPTED = "Adopted"
    NO_ACCELERATOR = "NoAccelerator"
    UNDECIDABLE = "Undecidable"
    UNPRICEABLE = "Unpriceable"
    NOT_PERMITTED = "NotPermitted"
    GROWTH_REFUSED = "GrowthRefused"
    QUALITY_GATE_FAILED = "QualityGateFailed"


SENTENCES: Final[dict[Reason, str]] = {
    Reason.WITHIN_BUDGET: "the request fits every budget that binds it",
    Reason.HELD_LATER: "nothing is held now; the work is decided when it starts",
    Reason.NO_BUDGET: "no budget binds this work",
    Reason.WARNED: "the request does not fit, and the budget only warns",
    Reason.BUDGET_EXHAUSTED: "nothing is left in the budget",
    Reason.ESTIMATE_EXCEEDS_AVAILABLE: "the request asks for more than is available",
    Reason.EXCEPTION_GRANTED: "the request fits because of an approved exception",
    Reason.ADMITTED_OWNER: "the work belongs to a root that was admitted before",
    Reason.ADOPTED: "the work was running before the budget bound it",
    Reason.NO_ACCELERATOR: "the work asks for no accelerator",
    Reason.UNDECIDABLE: "the demand of this work cannot be resolved",
    Reason.UNPRICEABLE: "a unit of the budget has no factor or price in force for this work",
    Reason.NOT_PERMITTED: "the subject may not use this budget",
    Reason.GROWTH_REFUSED: "the work was admitted with less; the growth does not fit",
    Reason.QUALITY_GATE_FAILED: "the quality gate of the promotion failed",
}

_OUTCOME_OF_FAILURE: Final = {
    Enforcement.DENY: Outcome.DENY,
    Enforcement.QUEUE: Outcome.QUEUE,
    Enforcement.WARN: Outcome.WARN,
    Enforcement.AUDIT: Outcome.ALLOW,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """A budget's limits; None is no limit in that unit."""

    energy_mj: int | None = None
    carbon_ug: int | None = None
    cost_micros: int | None = None
    currency: str | None = None

    def of(self, unit: Unit) -> int | None:
        """The limit in ``unit``."""
        return {Unit.MJ: self.energy_mj, Unit.UG: self.carbon_ug, Unit.MICROS: self.cost_micros}[unit]

    def units(self) -> tuple[Unit, ...]:
        """The units that have a limit."""
        return tuple(unit for unit in Unit if self.of(unit) is not None)


class SelectorOperator(StrEnum):
    """Operators of a Kubernetes label selector."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelRule:
    """One requirement of a label selector (``matchLabels`` is ``In`` with one value)."""

    key: str
    operator: SelectorOperator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet this; a missing label meets ``NotIn``, as in Kubernetes."""
        if self.operator is SelectorOperator.EXISTS:
            return self.key in labels
        if self.operator is SelectorOperator.DOES_NOT_EXIST:
            return self.key not in labels
        inside = self.key in labels and labels[self.key] in self.values
        return inside if self.operator is SelectorOperator.IN else not inside


@dataclass(frozen=True, slots=True)
class Scope:
    """What a budget binds by itself: present fields are ANDed, absent ones do not restrict."""

    namespaces: tuple[str, ...] | None = None
    namespace_selector: tuple[LabelRule, ...] = ()
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget as its owner wrote it (``kind: Budget``); fields as in the contract."""

    name: str
    period: PeriodRule
    limits: Limits
    parent: str | None = None
    scope: Scope | None = None
    selectable: bool = False
    default: bool = False
    enforcement: Enforcement = Enforcement.DENY
    when_undecidable: WhenUndecidable = WhenUndecidable.DENY
    on_exhausted: OnExhausted = OnExhausted.CONTINUE
    horizon_ns: int = 30 * 86_400 * 1_000_000_000
    hold_quantile: Fraction = Fraction(9, 10)
    warn_at_percent: tuple[int, ...] = (50, 80, 95)
    carry_over: CarryOver = CarryOver.NONE


@dataclass(frozen=True, slots=True)
class Balance:
    """One unit of one budget in one period. Every figure is in base units of ``unit``.

    ``limit`` is the effective limit: ``base + carried + exceptions``; None where
    the unit has no limit. ``available`` may be negative; ``debt`` is informative.
    """

    unit: Unit
    base: int | None
    carried: int = 0
    exceptions: int = 0
    posted: int = 0
    pending: int = 0
    currency: str | None = None

    @property
    def limit(self) -> int | None:
        """The effective limit."""
        return None if self.base is None else self.base + self.carried + self.exceptions

    @property
    def available(self) -> int | None:
        """What is neither posted nor held."""
        return None if self.limit is None else self.limit - self.posted - self.pending

    @property
    def debt(self) -> int:
        """What was drawn or held beyond the limit."""
        return 0 if self.available is None else max(0, -self.available)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks of one budget, in one period and unit, and what stands there.

    ``asked`` None: the amount cannot be computed (no factor, no price, another currency).
    """

    budget: str
    period: Period
    unit: Unit
    asked: int | None
    available: int
    enforcement: Enforcement
    exceptions: int = 0
    currency: str | None = None
    when_undecidable: WhenUndecidable = WhenUndecidable.DENY

    @property
    def fits(self) -> bool:
        """Whether what is asked is available here."""
        return self.asked is not None and self.asked <= self.available

    @property
    def share(self) -> Fraction:
        """The part of what is asked that would have fitted; the smallest share binds."""
        if self.asked is None:
            return Fraction(-1)
        if self.asked == 0:
            return Fraction(2**63) if self.available >= 0 else Fraction(0)
        return Fraction(max(0, self.available), self.asked)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, as the webhook answers it, the log keeps it and the dashboard shows it.

    ``asked``, ``available`` and ``fits`` are in base units of ``unit`` for
    ``budget``, the binding one; ``fits`` is the largest amount that every binding
    budget would have allowed. ``basis`` and ``n`` say what the estimate was made of.
    """

    outcome: Outcome
    reason: Reason
    budget: str | None = None
    unit: Unit | None = None
    currency: str | None = None
    asked: int | None = None
    available: int | None = None
    fits: int | None = None
    basis: str | None = None
    n: int | None = None
    hold: str | None = None
    as_of: datetime | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def allowed(self) -> bool:
        """Whether the request may go on now."""
        return self.outcome in (Outcome.ALLOW, Outcome.WARN)


def decide(claims: Sequence[Claim]) -> Verdict:
    """Decide one request against every budget, period and unit that it touches (law 6).

    The strictest outcome wins (Deny > Queue > Warn > Audit); among equals the
    budget that leaves the smallest share of the request explains the verdict,
    then the name. A claim that cannot be priced does not fit; its budget's
    ``when_undecidable`` says whether that keeps the work out.
    """
    if not claims:
        return Verdict(Outcome.ALLOW, Reason.NO_BUDGET)
    failing = [claim for claim in claims if not claim.fits and not _waved_through(claim)]
    if not failing:
        return _explain(_tightest(claims), Outcome.ALLOW, claims)
    strictest = max((claim.enforcement for claim in failing), key=_strictness)
    binding = _tightest([claim for claim in failing if claim.enforcement is strictest])
    return _explain(binding, _OUTCOME_OF_FAILURE[strictest], claims)


def _waved_through(claim: Claim) -> bool:
    return claim.asked is None and claim.when_undecidable is WhenUndecidable.ALLOW


def _strictness(enforcement: Enforcement) -> int:
    return list(Enforcement).index(enforcement)


def _tightest(claims: Sequence[Claim]) -> Claim:
    return claims[0] if len(claims) == 1 else min(claims, key=_tightness)


def _tightness(claim: Claim) -> tuple[Fraction, str, str, Period]:
    return claim.share, claim.budget, claim.unit, claim.period


def _explain(claim: Claim, outcome: Outcome, claims: Sequence[Claim]) -> Verdict:
    return Verdict(
        outcome=outcome,
        reason=_reason(claim, outcome),
        budget=claim.budget,
        unit=claim.unit,
        currency=claim.currency,
        asked=claim.asked,
        available=claim.available,
        fits=_fits(claim, claims),
    )


def _fits(claim: Claim, claims: Sequence[Claim]) -> int | None:
    """The largest amount, in the unit of ``claim``, that all binding budgets would have allowed."""
    if claim.asked is None:
        return None
    others = [other for other in claims if other is not claim and other.enforcement.binds and other.asked is not None]
    share = min((other.share for other in others), default=None)
    return max(0, claim.available) if share is None or share >= claim.share else int(share * claim.asked)


def _reason(claim: Claim, outcome: Outcome) -> Reason:
    if claim.asked is None:
        return Reason.UNPRICEABLE
    if claim.fits:
        needed = claim.asked > claim.available - claim.exceptions
        return Reason.EXCEPTION_GRANTED if needed else Reason.WITHIN_BUDGET
    if outcome in (Outcome.ALLOW, Outcome.WARN):
        return Reason.WARNED
    return Reason.BUDGET_EXHAUSTED if claim.available <= 0 else Reason.ESTIMATE_EXCEEDS_AVAILABLE
