"""Answers: the verdict in words, as JSON and as a review; a refusal is one that Argo and Job controllers wait on."""

import json

from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.budgets import Outcome, Reason, Verdict
from joulegate.core.units import Unit
from joulegate_api.admission.answers import review_json, sentence, verdict_json, warnings_of

REFUSED = Verdict(
    Outcome.DENY,
    Reason.ESTIMATE_EXCEEDS_AVAILABLE,
    budget="vision",
    unit=Unit.MJ,
    asked=3_600_000_000,
    available=1_800_000_000,
    fits=1_800_000_000,
    basis="prior",
    n=0,
)

verdicts = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from(Reason),
    budget=st.none() | st.text(max_size=10),
    unit=st.none() | st.sampled_from(Unit),
    currency=st.none() | st.just("EUR"),
    asked=st.none() | st.integers(0, 2**63),
    available=st.none() | st.integers(-(2**63), 2**63),
    fits=st.none() | st.integers(0, 2**63),
    basis=st.none() | st.just("history"),
    n=st.none() | st.integers(0, 10**6),
    hold=st.none() | st.text(max_size=5),
    warnings=st.lists(st.text(max_size=300), max_size=3).map(tuple),
)


def test_a_refusal_says_which_budget_how_much_and_what_would_have_fitted() -> None:
    response = review_json("u", REFUSED)["response"]
    status = response["status"]
    assert (response["uid"], response["allowed"]) == ("u", False)
    assert (status["code"], status["reason"]) == (429, "TooManyRequests")
    assert "retryAfterSeconds" not in json.dumps(response)
    for part in (
        "exceeded quota",
        "budget vision",
        "1 kWh asked",
        "500 Wh available",
        "500 Wh would have fitted",
        "prior",
    ):
        assert part in status["message"]


def test_amounts_are_decimal_strings_in_the_unit_of_the_verdict() -> None:
    body = verdict_json(REFUSED)
    assert (body["unit"], body["asked"], body["available"], body["fits"]) == (
        "mj",
        "3600000000",
        "1800000000",
        "1800000000",
    )
    assert body["reason"] == "EstimateExceedsAvailable"


@given(verdicts)
def test_every_verdict_has_an_answer(verdict: Verdict) -> None:
    answer = review_json("uid", verdict)
    written = json.loads(json.dumps(answer))
    response = written["response"]
    assert response["allowed"] == verdict.allowed == (verdict.outcome in (Outcome.ALLOW, Outcome.WARN))
    assert ("status" in response) == (not verdict.allowed)
    if not verdict.allowed:
        assert response["status"]["code"] == 429
        assert response["status"]["message"].startswith("exceeded quota: ")
    assert all(len(warning) <= 120 for warning in response.get("warnings", ()))
    assert json.loads(response["auditAnnotations"]["verdict"]) == verdict_json(verdict)
    assert f"[{verdict.reason}]" in sentence(verdict)


def test_a_warning_budget_tells_the_user() -> None:
    told = warnings_of(Verdict(Outcome.WARN, Reason.WARNED, budget="vision"))
    assert told
    assert "vision" in told[0]


def test_a_queue_that_nothing_can_hold_back_says_that_it_refuses() -> None:
    queued = Verdict(Outcome.QUEUE, Reason.BUDGET_EXHAUSTED, budget="vision")
    assert not queued.allowed
    assert "refused" in warnings_of(queued)[0]
