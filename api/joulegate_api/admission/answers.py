"""A verdict in words, as JSON, and as the AdmissionReview that is answered.

A refusal is 429 with ``exceeded quota`` in its message and no
``retryAfterSeconds``: Argo and KFP then keep the step pending, Job controllers
back off, and client-go does not retry inside its caller.
"""

from __future__ import annotations

import json
from typing import Any, Final

from joulegate.core import display
from joulegate.core.budgets import SENTENCES, Outcome, Reason, Verdict
from joulegate.wire import to_json

REFUSED: Final = 429
_LONGEST_WARNING: Final = 120  # of what Kubernetes promises to show
_AMOUNTS: Final = ("asked", "available", "fits")


def sentence(verdict: Verdict) -> str:
    """What was decided and why, in one line."""
    said = SENTENCES[verdict.reason]
    if verdict.budget is not None:
        said = f"budget {verdict.budget}: {said}"
    if verdict.unit is not None:
        asked, available, fits = (
            display.amount(getattr(verdict, name), verdict.unit, verdict.currency, missing="unknown")
            for name in _AMOUNTS
        )
        said += f"; {asked} asked, {available} available, {fits} would have fitted"
    if verdict.basis is not None:
        said += f" (estimate by {verdict.basis}, {verdict.n} runs)"
    if verdict.detail is not None:
        said += f"; {verdict.detail}"
    return f"{said} [{verdict.reason}]"


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict of the contract; amounts are decimal strings in base units of `unit`."""
    body: dict[str, Any] = {
        "allowed": verdict.allowed,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason.value,
        "budget": verdict.budget,
        "unit": verdict.unit.value if verdict.unit else None,
        "currency": verdict.currency,
        **{name: _text(getattr(verdict, name)) for name in _AMOUNTS},
        "basis": verdict.basis,
        "n": verdict.n,
        "hold": verdict.hold,
        "as_of": to_json(verdict.as_of),
        "message": sentence(verdict),
        "warnings": list(verdict.warnings),
    }
    return body


def review_json(uid: str, verdict: Verdict) -> dict[str, Any]:
    """The AdmissionReview that answers ``uid``."""
    told = verdict_json(verdict)
    response: dict[str, Any] = {
        "uid": uid,
        "allowed": verdict.allowed,
        "auditAnnotations": {"verdict": json.dumps(told, ensure_ascii=False)},
    }
    warnings = warnings_of(verdict)
    if warnings:
        response["warnings"] = warnings
    if not verdict.allowed:
        response["status"] = {
            "status": "Failure",
            "code": REFUSED,
            "reason": "TooManyRequests",
            "message": f"exceeded quota: {told['message']}",
        }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def warnings_of(verdict: Verdict) -> list[str]:
    """What the user is told beside the outcome."""
    told = [*verdict.warnings]
    if verdict.outcome is Outcome.WARN or (verdict.allowed and verdict.reason in (Reason.UNDECIDABLE, Reason.WARNED)):
        told.append(sentence(verdict))
    if verdict.outcome is Outcome.QUEUE:
        told.append(f"budget {verdict.budget} queues, but this object came without a gate, so it is refused")
    return [warning[:_LONGEST_WARNING] for warning in told]


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
