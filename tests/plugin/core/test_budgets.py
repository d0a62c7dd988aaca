"""decide(): no overspend, no needless refusal, and an explanation that is true."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.budgets import (
    SENTENCES,
    Balance,
    Claim,
    Enforcement,
    Outcome,
    Reason,
    WhenUndecidable,
    decide,
)
from joulegate.core.periods import Period
from joulegate.core.units import Unit

MONTH = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
CLAIMS = st.lists(
    st.builds(
        Claim,
        budget=st.sampled_from(["lab", "team", "project"]),
        period=st.just(MONTH),
        unit=st.sampled_from(list(Unit)),
        asked=st.none() | st.integers(0, 10**6),
        available=st.integers(-(10**6), 10**6),
        enforcement=st.sampled_from(list(Enforcement)),
        exceptions=st.integers(0, 10**5),
        currency=st.none(),
        when_undecidable=st.sampled_from(list(WhenUndecidable)),
    ),
    max_size=8,
    unique_by=lambda each: (each.budget, each.unit),
)


def claim(
    asked: int | None,
    available: int,
    enforcement: Enforcement = Enforcement.DENY,
    unit: Unit = Unit.MJ,
) -> Claim:
    return Claim("vision", MONTH, unit, asked, available, enforcement)


@given(CLAIMS)
def test_law_6_an_allowance_fits_every_budget_that_denies_or_queues(claims: list[Claim]) -> None:
    if decide(claims).allowed:
        for each in claims:
            undecided = each.asked is None and each.when_undecidable is WhenUndecidable.ALLOW
            assert each.fits or undecided or not each.enforcement.binds


@given(CLAIMS)
def test_law_6_a_request_that_fits_everywhere_is_not_refused(claims: list[Claim]) -> None:
    if all(each.fits for each in claims):
        assert decide(claims).outcome is Outcome.ALLOW


@given(CLAIMS)
def test_law_6_what_fits_is_said_truly(claims: list[Claim]) -> None:
    """A request scaled down to ``fits`` passes all that bind, and nothing noticeably larger does."""
    verdict = decide(claims)
    binding = [each for each in claims if each.enforcement.binds and each.asked]
    if verdict.asked and verdict.fits is not None and binding:
        for each in binding:
            assert each.asked is not None
            scaled = each.asked * verdict.fits // verdict.asked
            assert verdict.fits == 0 or scaled <= max(0, each.available)


@given(CLAIMS)
def test_law_8_a_verdict_is_a_function_of_its_claims_in_any_order(claims: list[Claim]) -> None:
    assert decide(claims) == decide(list(reversed(claims)))


def test_no_claim_means_no_budget() -> None:
    assert decide([]).reason is Reason.NO_BUDGET


@pytest.mark.parametrize(
    ("enforcement", "outcome"),
    [
        (Enforcement.DENY, Outcome.DENY),
        (Enforcement.QUEUE, Outcome.QUEUE),
        (Enforcement.WARN, Outcome.WARN),
        (Enforcement.AUDIT, Outcome.ALLOW),
    ],
)
def test_each_enforcement_answers_in_its_own_way(enforcement: Enforcement, outcome: Outcome) -> None:
    assert decide([claim(11, 10, enforcement)]).outcome is outcome


def test_the_strictest_outcome_wins_whatever_leaves_less() -> None:
    verdict = decide([claim(10, 1, Enforcement.WARN), replace(claim(10, 9), budget="lab")])
    assert (verdict.outcome, verdict.budget, verdict.fits) == (Outcome.DENY, "lab", 9)


def test_a_refusal_says_what_would_have_fitted_in_every_unit() -> None:
    verdict = decide([claim(100, 80), claim(10, 5, unit=Unit.UG)])
    assert (verdict.unit, verdict.asked, verdict.available, verdict.fits) == (Unit.UG, 10, 5, 5)


def test_an_exhausted_budget_is_told_from_one_that_is_merely_too_small() -> None:
    assert decide([claim(1, 0)]).reason is Reason.BUDGET_EXHAUSTED
    assert decide([claim(2, 1)]).reason is Reason.ESTIMATE_EXCEEDS_AVAILABLE


def test_an_unpriceable_unit_keeps_work_out_unless_the_budget_says_otherwise() -> None:
    assert decide([claim(None, 10)]).reason is Reason.UNPRICEABLE
    assert not decide([claim(None, 10)]).allowed
    assert decide([replace(claim(None, 10), when_undecidable=WhenUndecidable.ALLOW)]).allowed


def test_an_exception_is_named_when_the_request_fits_only_because_of_it() -> None:
    assert decide([replace(claim(10, 12), exceptions=5)]).reason is Reason.EXCEPTION_GRANTED
    assert decide([replace(claim(7, 12), exceptions=5)]).reason is Reason.WITHIN_BUDGET


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
)
def test_a_balance_adds_up(base: int, carried: int, exceptions: int, posted: int, pending: int) -> None:
    balance = Balance(Unit.MJ, base, carried, exceptions, posted, pending)
    assert balance.limit == base + carried + exceptions
    assert balance.available == balance.limit - posted - pending
    assert balance.debt == max(0, -balance.available)


def test_a_unit_without_a_limit_has_no_rest_and_no_debt() -> None:
    balance = Balance(Unit.UG, None, posted=5)
    assert (balance.limit, balance.available, balance.debt) == (None, None, 0)


def test_every_reason_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
