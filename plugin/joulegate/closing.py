"""Bodies of what is done to the ledger itself: a period is closed, records are priced again, changes are approved.

Standard library only; see :mod:`joulegate.wire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from joulegate.schema import STRICT, Line, Moment, Text


@dataclass(frozen=True, slots=True)
class CloseBody:
    """``POST /v1/ledger/closes``: close a calendar period of every budget that has it, or one period of ``budget``.

    ``period`` is a year, quarter, month, week or day as people write it (`2026`,
    `2026-Q4`, `2026-11`, `2026-W47`, `2026-11-23`), in each budget's own time zone.
    For a fixed span any day inside it, with ``budget``. ``early`` closes what is over
    without waiting for late facts.
    """

    __pydantic_config__ = STRICT
    period: Line
    budget: Line | None = None
    early: bool = False


@dataclass(frozen=True, slots=True)
class RepricingBody:
    """``POST /v1/ledger/repricings``: price the quarter-hours in [``since``, ``until``) by the rates now in force.

    ``dry_run`` says what would change. Without it the re-pricing waits until somebody else approves it.
    """

    __pydantic_config__ = STRICT
    since: Moment
    until: Moment
    reason: Annotated[str, Text(1_000)]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class DecisionBody:
    """``POST /v1/changes/{id}/approval`` and ``/rejection``, by the caller."""

    __pydantic_config__ = STRICT
    note: Annotated[str, Text(1_000)] | None = None
