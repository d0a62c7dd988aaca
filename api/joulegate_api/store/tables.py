"""The tables of the ledger. ``tenant`` leads every key; quantities are whole base units; instants are UTC.

Rows of facts (revisions, records, slices, postings, entries) are only ever
added. A balance is the one thing that changes in place, and it is the sum of
the claims of holds and of the postings: whatever is lost of it can be counted again.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from joulegate_api.store.columns import Json, amounts, instant, metadata, tenant, text, whole

REVISION: Final = "0007"
"""The revision of the migrations that these tables describe."""

versions: Final = Table(
    "versions",
    metadata,
    tenant(),
    whole("hierarchy"),
    whole("rates"),
    PrimaryKeyConstraint("tenant"),
)
"""Counters that are raised with each change, so that a process knows when what it remembers is old."""

budget_revisions: Final = Table(
    "budget_revisions",
    metadata,
    tenant(),
    text("name"),
    Column("revision", Integer, nullable=False),
    instant("recorded_at"),
    text("principal"),
    Column("closed", Boolean, nullable=False),
    Column("spec", Json, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "revision"),
)
"""Every form that a budget ever had; the highest revision is in force."""

balances: Final = Table(
    "balances",
    metadata,
    tenant(),
    text("budget"),
    instant("period_start"),
    instant("period_end"),
    text("currency", null=True),
    *amounts("base", null=True),
    *amounts("carried"),
    *amounts("exceptions"),
    *amounts("posted"),
    *amounts("pending"),
    instant("closed_at", null=True),
    PrimaryKeyConstraint("tenant", "budget", "period_start"),
    CheckConstraint("period_start < period_end", name="span"),
)
"""One row a budget and period. No constraint bounds what was truly consumed."""

holds: Final = Table(
    "holds",
    metadata,
    tenant(),
    text("hold_id"),
    text("cluster"),
    text("root_uid"),
    Column("part", Integer, nullable=False),
    text("state"),
    text("origin"),
    text("resource"),
    text("namespace"),
    text("name"),
    text("subject"),
    Column("demand", Json, nullable=False),
    text("quote"),
    Column("verdict", Json, nullable=False),
    instant("decided_at"),
    instant("confirmed_at", null=True),
    instant("ended_at", null=True),
    instant("released_at", null=True),
    instant("closed_at", null=True),
    PrimaryKeyConstraint("tenant", "hold_id"),
    UniqueConstraint("tenant", "cluster", "root_uid", "part"),
    Index(None, "tenant", "cluster", "resource", "namespace", "name"),
)
"""One row a part: the first decision of a root is part 0, each growth another part with its own state."""

hold_claims: Final = Table(
    "hold_claims",
    metadata,
    tenant(),
    text("hold_id"),
    text("budget"),
    instant("period_start"),
    *amounts("held", null=True),
    *amounts("given_back"),
    *amounts("drawn"),
    *amounts("pending"),
    PrimaryKeyConstraint("tenant", "hold_id", "budget", "period_start"),
    Index(None, "tenant", "budget", "period_start"),
)
"""What a hold took from each budget and period, what was drawn of it, and what is still pending."""

postings: Final = Table(
    "postings",
    metadata,
    tenant(),
    text("fact_type"),
    text("fact_id"),
    text("budget"),
    instant("period_start"),
    text("hold_id", null=True),
    text("reason"),
    instant("posted_at"),
    *amounts("posted", null=True),
    *amounts("pending"),
    text("currency", null=True),
    instant("corrects_period", null=True),
    PrimaryKeyConstraint("tenant", "fact_type", "fact_id", "budget", "period_start"),
    Index(None, "tenant", "budget", "period_start", "posted_at"),
    Index(None, "tenant", "hold_id"),
)
"""Every change of a balance after the decision that made a hold. The key lets a fact change a balance once."""

records: Final = Table(
    "records",
    metadata,
    tenant(),
    text("record_id"),
    text("content_hash"),
    text("run_uid"),
    text("root_uid", null=True),
    text("cluster"),
    text("namespace"),
    text("site", null=True),
    text("pipeline", null=True),
    text("kind"),
    text("model", null=True),
    text("variant", null=True),
    text("outcome"),
    text("source"),
    instant("started_at"),
    instant("ended_at"),
    instant("accepted_at"),
    text("principal"),
    Column("self_reported", Boolean, nullable=False),
    Column("charged", Boolean, nullable=False),
    instant("reversed_at", null=True),
    Column("budgets", Json, nullable=False),
    Column("body", Json, nullable=False),
    PrimaryKeyConstraint("tenant", "record_id"),
    Index(None, "tenant", "started_at", "record_id"),
    Index(None, "tenant", "run_uid"),
    Index(None, "tenant", "cluster", "root_uid"),
    Index(None, "tenant", "kind", "model", "started_at"),
)
"""Efficiency records as they were sent; ``budgets`` names those that they were charged to."""

record_slices: Final = Table(
    "record_slices",
    metadata,
    tenant(),
    text("record_id"),
    text("device_uuid"),
    text("boundary"),
    instant("quarter"),
    text("gpu_model"),
    whole("gpu_ns"),
    whole("missing_ns"),
    whole("energy_mj", null=True),
    whole("carbon_location_ug", null=True),
    whole("carbon_market_ug", null=True),
    whole("cost_micros", null=True),
    text("currency", null=True),
    text("site_rate", null=True),
    text("location_rate", null=True),
    text("market_rate", null=True),
    text("price_rate", null=True),
    PrimaryKeyConstraint("tenant", "record_id", "device_uuid", "boundary", "quarter"),
)
"""A record's energy by device and UTC quarter-hour, priced. The rates are ids of rows of ``rates``; NULL is unknown."""

rates: Final = Table(
    "rates",
    metadata,
    tenant(),
    text("rate_id"),
    text("kind"),
    text("identity"),
    text("set_id"),
    instant("recorded_at"),
    Column("body", Json, nullable=False),
    PrimaryKeyConstraint("tenant", "rate_id"),
    UniqueConstraint("tenant", "kind", "identity"),
)
"""Dated intensities, prices and sites. ``rate_id`` is a hash of the row, ``identity`` what no two rows share."""

entries: Final = Table(
    "entries",
    metadata,
    tenant(),
    text("writer_id"),
    whole("writer_epoch"),
    whole("writer_seq"),
    text("type"),
    text("fact_id"),
    instant("recorded_at"),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "writer_id", "writer_epoch", "writer_seq"),
)
"""The log, unsequenced: canonical envelopes and the hashes of their leaves."""

exceptions: Final = Table(
    "exceptions",
    metadata,
    tenant(),
    text("exception_id"),
    text("namespace"),
    Column("budgets", Json, nullable=False),
    *amounts("amount"),
    text("currency", null=True),
    text("reason"),
    text("ticket", null=True),
    text("requested_by"),
    instant("requested_at"),
    instant("expires_at"),
    text("approved_by", null=True),
    instant("approved_at", null=True),
    PrimaryKeyConstraint("tenant", "exception_id"),
)
"""What somebody asked for beyond a limit, and who else approved it."""

grants: Final = Table(
    "grants",
    metadata,
    tenant(),
    text("exception_id"),
    text("budget"),
    instant("period_start"),
    text("namespace"),
    *amounts("granted"),
    *amounts("used"),
    instant("expires_at"),
    instant("expired_at", null=True),
    PrimaryKeyConstraint("tenant", "exception_id", "budget", "period_start"),
    Index(None, "tenant", "budget", "period_start"),
)
"""An approved exception on one budget and period; at expiry the used part stays."""
