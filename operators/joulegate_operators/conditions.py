"""Conditions of a status: what is so, for which generation of the spec, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from joulegate.core.periods import format_instant
from joulegate_operators.kube import Json

_LONGEST_MESSAGE: Final = 32_768
"""As the schemas of Joulegate's kinds say."""


def condition(kind: str, status: str, reason: str, message: str = "") -> Json:
    """One condition; ``status`` is ``True``, ``False`` or ``Unknown``, ``reason`` a word in CamelCase."""
    return {"type": kind, "status": status, "reason": reason, "message": message[:_LONGEST_MESSAGE]}


def ready(status: str, reason: str, message: str = "") -> Json:
    """Whether the object is in force in Joulegate's API."""
    return condition("Ready", status, reason, message)


def dated(conditions: Sequence[Json], generation: int, before: Json, now: datetime) -> list[Json]:
    """The conditions with their generation and the instant since which each is so.

    ``before`` is the status as it stands; the instant stays where a condition's
    status stays, whatever becomes of its reason and message.
    """
    known: list[dict[str, Any]] = before.get("conditions") or []
    since = {(each["type"], each["status"]): each["lastTransitionTime"] for each in known}
    at = format_instant(now.replace(microsecond=0))
    return [
        {
            **each,
            "observedGeneration": generation,
            "lastTransitionTime": since.get((each["type"], each["status"]), at),
        }
        for each in conditions
    ]


def present(source: Json) -> Json:
    """The fields that are not None; a merge patch takes the others away."""
    return {key: value for key, value in source.items() if value is not None}
