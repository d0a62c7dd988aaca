"""Where one person's change waits for another: what moves money, where ``JOULEGATE_TWO_PERSON`` asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from joulegate.tokens import Role
from joulegate_api.auth import Principal
from joulegate_api.context import Context, answer
from joulegate_api.store import Change


class ChangeKind(StrEnum):
    """What may wait."""

    BUDGET = "budget"
    BUDGET_CLOSE = "budget_close"
    FACTORS = "factors"
    PRICES = "prices"
    SITES = "sites"
    INSTRUMENTS = "instruments"
    REPRICING = "repricing"


def must_wait(caller: Principal, parts: Context) -> bool:
    """Whether a change of limits or rates by ``caller`` waits.

    What the operator brings was written in the cluster, under the cluster's own rules.
    """
    return parts.settings.two_person and Role.OPERATOR not in caller.roles


def propose(
    kind: ChangeKind,
    subject: str,
    body: Mapping[str, Any],
    caller: Principal,
    parts: Context,
    reason: str | None = None,
) -> JSONResponse:
    """Keep a change until somebody else approves it: 202 with the change."""
    made = parts.store.changes.propose(kind.value, subject, body, caller.name, reason)
    return answer(change_json(made), HTTPStatus.ACCEPTED)


def change_json(change: Change) -> dict[str, Any]:
    """A change and where it stands."""
    state = "waiting" if change.approved is None else "approved" if change.approved else "rejected"
    return {
        "change_id": change.change_id,
        "kind": change.kind,
        "subject": change.subject,
        "state": state,
        "reason": change.reason,
        "requested_by": change.requested_by,
        "requested_at": change.requested_at,
        "decided_by": change.decided_by,
        "decided_at": change.decided_at,
    }
