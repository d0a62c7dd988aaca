"""What the API is asked of a BudgetException."""

from __future__ import annotations

from typing import Any

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate_operators.exceptions import request_of
from joulegate_operators.kinds import Custom

SPEC = {
    "budgets": ["vision"],
    "amount": {"energyKwh": "10"},
    "reason": "a paper",
    "expiresAt": "2026-12-01T00:00:00Z",
    "requestedBy": "ana",
}


def more(**changes: Any) -> Custom:
    return Custom("0b1c", "more", "lab", 1, SPEC | changes, {})


def test_who_approved_is_no_part_of_what_is_asked_for() -> None:
    before, nobody = request_of(more(approvedBy=""))
    after, approver = request_of(more(approvedBy="bo"))
    assert (before, nobody, approver) == (after, None, "bo")
    assert "approvedBy" not in after["spec"]
    assert after["metadata"]["uid"].startswith("0b1c-")


def test_another_amount_is_another_request() -> None:
    ids = {request_of(more(amount={"energyKwh": text}))[0]["metadata"]["uid"] for text in ("10", "20")}
    assert len(ids) == 2


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"spec\.amount"):
        request_of(more(amount={}))
