"""What is read of an object of Joulegate's own kinds, and what is said in its status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from joulegate_operators.conditions import dated, present, ready
from joulegate_operators.kinds import Custom, custom_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_what_a_cluster_leaves_out_is_empty() -> None:
    assert custom_of({"metadata": {"name": "vision"}}) == Custom("", "vision", None, 0, {}, {})


def test_a_condition_keeps_its_instant_while_its_status_stays() -> None:
    first = dated([ready("False", "Refused", "no parent")], 1, {}, NOW)
    assert [(each["lastTransitionTime"], each["observedGeneration"]) for each in first] == [("2026-11-23T12:00:00Z", 1)]
    later = NOW + timedelta(minutes=1)
    still = dated([ready("False", "Invalid", "other words")], 2, {"conditions": first}, later)
    assert (still[0]["lastTransitionTime"], still[0]["reason"]) == ("2026-11-23T12:00:00Z", "Invalid")
    good = dated([ready("True", "Accepted")], 2, {"conditions": still}, later)
    assert good[0]["lastTransitionTime"] == "2026-11-23T12:01:00Z"


def test_what_is_none_is_left_to_the_patch_to_take_away() -> None:
    assert present({"period": None, "balances": [], "generation": 0}) == {"balances": [], "generation": 0}


def test_a_message_is_not_longer_than_the_schema_allows() -> None:
    assert len(ready("False", "Invalid", "x" * 40_000)["message"]) == 32_768
