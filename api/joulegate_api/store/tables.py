# ruff: noqa: ANN401 -- JSON is any value
"""The tables. ``tenant`` leads every key; quantities are whole base units in BIGINT; instants are UTC.

Rows of facts (revisions, records, slices, postings, entries) are only ever
added. A balance is the one thing that changes in place, and it is the sum of
the claims of holds and of the postings: whatever is lost of it can be counted again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

REVISION: Final = "0001"
"""The revision of the migrations that these tables describe."""

_NAMES: Final = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
metadata: Final = MetaData(naming_convention=_NAMES)


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC. SQLite keeps no time zone, so there it is written without one and read back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive instant: nobody knows which one it is."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"{value} has no time zone"
            raise ValueError(message)
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """Plain JSON as text: both databases keep the same characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write compactly, keys in the order they were given."""
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Read back."""
        return None if value is None else json.loads(value)


def _tenant() -> Column[str]:
    return Column("tenant", String, nullable=False)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, String, nullable=null)


def _whole(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _instant(name: str, *, null: bool = False) -> Column[datetime]:
    return Column(name, Instant, nullable=null)


def _amounts(stem: str, *, null: bool = False) -> list[Column[int]]:
    """One column a unit. Where energy is known and carbon or money are not, those are NULL, never zero."""
    return [_whole(f"{stem}_mj", null=null), _whole(f"{stem}_ug", null=null), _whole(f"{stem}_micros", null=null)]


versions: Final = Table(
    "versions",
    metadata,
    _tenant(),
    _whole("hierarchy"),
    _whole("rates"),
    PrimaryKeyConstraint("tenant"),
)
"""Counters that are raised with each change, so that a process knows when what it remembers is old."""

budget_revisions: Final = Table(
    "budget_revisions",
    metadata,
    _tenant(),
    _text("name"),
    Column("revision", Integer, nullable=False),
    _instant("recorded_at"),
    _text("principal"),
    Column("closed", Boolean, nullable=False),
    Column("spec", Json, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "revision"),
)
"""Every form that a budget ever had; the highest revision is in force."""

balances: Final = Table(
    "balances",
    metadata,
    _tenant(),
    _text("budget"),
    _instant("period_start"),
    _instant("period_end"),
    _text("currency", null=True),
    *_amounts("base", null=True),
    *_amounts("carried"),
    *_amounts("exceptions"),
    *_amounts("posted"),
    *_amounts("pending"),
    PrimaryKeyConstraint("tenant", "budget", "period_start"),
    CheckConstraint("period_start < period_end", name="span"),
)
"""One row a budget and period. No constraint bounds what was truly consumed."""

holds: Final = Table(
    "holds",
    metadata,
    _tenant(),
    _text("hold_id"),
    _text("cluster"),
    _text("root_uid"),
    Column("part", Integer, nullable=False),
    _text("state"),
    _text("origin"),
    _text("resource"),
    _text("namespace"),
    _text("name"),
    _text("subject"),
    Column("demand", Json, nullable=False),
    Column("quote", Json, nullable=False),
    Column("verdict", Json, nullable=False),
    _instant("decided_at"),
    _instant("confirmed_at", null=True),
    _instant("ended_at", null=True),
    _instant("released_at", null=True),
    _instant("closed_at", null=True),
    PrimaryKeyConstraint("tenant", "hold_id"),
    UniqueConstraint("tenant", "cluster", "root_uid", "part"),
    Index(None, "tenant", "cluster", "resource", "namespace", "name"),
)
"""One row a part: the first decision of a root is part 0, each growth another part with its own state."""

hold_claims: Final = Table(
    "hold_claims",
    metadata,
    _tenant(),
    _text("hold_id"),
    _text("budget"),
    _instant("period_start"),
    *_amounts("held", null=True),
    *_amounts("drawn"),
    *_amounts("pending"),
    PrimaryKeyConstraint("tenant", "hold_id", "budget", "period_start"),
    Index(None, "tenant", "budget", "period_start"),
)
"""What a hold took from each budget and period, what was drawn of it, and what is still pending."""

postings: Final = Table(
    "postings",
    metadata,
    _tenant(),
    _text("fact_type"),
    _text("fact_id"),
    _text("budget"),
    _instant("period_start"),
    _text("hold_id", null=True),
    _text("reason"),
    _instant("posted_at"),
    *_amounts("posted", null=True),
    *_amounts("pending"),
    _text("currency", null=True),
    PrimaryKeyConstraint("tenant", "fact_type", "fact_id", "budget", "period_start"),
    Index(None, "tenant", "budget", "period_start", "posted_at"),
    Index(None, "tenant", "hold_id"),
)
"""Every change of a balance after the decision that made a hold. The key lets a fact change a balance once."""

records: Final = Table(
    "records",
    metadata,
    _tenant(),
    _text("record_id"),
    _text("content_hash"),
    _text("run_uid"),
    _text("cluster"),
    _text("namespace"),
    _text("site", null=True),
    _text("pipeline", null=True),
    _text("kind"),
    _text("model", null=True),
    _text("variant", null=True),
    _text("outcome"),
    _text("source"),
    _instant("started_at"),
    _instant("ended_at"),
    _instant("accepted_at"),
    _text("principal"),
    Column("self_reported", Boolean, nullable=False),
    Column("charged", Boolean, nullable=False),
    Column("budgets", Json, nullable=False),
    Column("body", Json, nullable=False),
    PrimaryKeyConstraint("tenant", "record_id"),
    Index(None, "tenant", "started_at", "record_id"),
    Index(None, "tenant", "run_uid"),
    Index(None, "tenant", "kind", "model", "started_at"),
)
"""Efficiency records as they were sent; ``budgets`` names those that they were charged to."""

record_slices: Final = Table(
    "record_slices",
    metadata,
    _tenant(),
    _text("record_id"),
    _text("device_uuid"),
    _text("boundary"),
    _instant("quarter"),
    _text("gpu_model"),
    _whole("gpu_ns"),
    _whole("missing_ns"),
    _whole("energy_mj", null=True),
    _whole("carbon_location_ug", null=True),
    _whole("carbon_market_ug", null=True),
    _whole("cost_micros", null=True),
    _text("currency", null=True),
    _text("site_rate", null=True),
    _text("location_rate", null=True),
    _text("market_rate", null=True),
    _text("price_rate", null=True),
    PrimaryKeyConstraint("tenant", "record_id", "device_uuid", "boundary", "quarter"),
)
"""A record's energy by device and UTC quarter-hour, priced. The rates are ids of rows of ``rates``; NULL is unknown."""

rates: Final = Table(
    "rates",
    metadata,
    _tenant(),
    _text("rate_id"),
    _text("kind"),
    _text("identity"),
    _text("set_id"),
    _instant("recorded_at"),
    Column("body", Json, nullable=False),
    PrimaryKeyConstraint("tenant", "rate_id"),
    UniqueConstraint("tenant", "kind", "identity"),
)
"""Dated intensities, prices and sites. ``rate_id`` is a hash of the row, ``identity`` what no two rows share."""

entries: Final = Table(
    "entries",
    metadata,
    _tenant(),
    _text("writer_id"),
    _whole("writer_epoch"),
    _whole("writer_seq"),
    _text("type"),
    _text("fact_id"),
    _instant("recorded_at"),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "writer_id", "writer_epoch", "writer_seq"),
)
"""The log, unsequenced: canonical envelopes and the hashes of their leaves."""
