"""Budgets, balances, holds, records, rates and the log's entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "balances",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("base_mj", sa.BigInteger(), nullable=True),
        sa.Column("base_ug", sa.BigInteger(), nullable=True),
        sa.Column("base_micros", sa.BigInteger(), nullable=True),
        sa.Column("carried_mj", sa.BigInteger(), nullable=False),
        sa.Column("carried_ug", sa.BigInteger(), nullable=False),
        sa.Column("carried_micros", sa.BigInteger(), nullable=False),
        sa.Column("exceptions_mj", sa.BigInteger(), nullable=False),
        sa.Column("exceptions_ug", sa.BigInteger(), nullable=False),
        sa.Column("exceptions_micros", sa.BigInteger(), nullable=False),
        sa.Column("posted_mj", sa.BigInteger(), nullable=False),
        sa.Column("posted_ug", sa.BigInteger(), nullable=False),
        sa.Column("posted_micros", sa.BigInteger(), nullable=False),
        sa.Column("pending_mj", sa.BigInteger(), nullable=False),
        sa.Column("pending_ug", sa.BigInteger(), nullable=False),
        sa.Column("pending_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "budget", "period_start", name="pk_balances"),
        sa.CheckConstraint("period_start < period_end", name="ck_balances_span"),
    )
    op.create_table(
        "budget_revisions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "revision", name="pk_budget_revisions"),
    )
    op.create_table(
        "entries",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("writer_id", sa.String(), nullable=False),
        sa.Column("writer_epoch", sa.BigInteger(), nullable=False),
        sa.Column("writer_seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "writer_id", "writer_epoch", "writer_seq", name="pk_entries"),
    )
    op.create_table(
        "hold_claims",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_mj", sa.BigInteger(), nullable=True),
        sa.Column("held_ug", sa.BigInteger(), nullable=True),
        sa.Column("held_micros", sa.BigInteger(), nullable=True),
        sa.Column("drawn_mj", sa.BigInteger(), nullable=False),
        sa.Column("drawn_ug", sa.BigInteger(), nullable=False),
        sa.Column("drawn_micros", sa.BigInteger(), nullable=False),
        sa.Column("pending_mj", sa.BigInteger(), nullable=False),
        sa.Column("pending_ug", sa.BigInteger(), nullable=False),
        sa.Column("pending_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "hold_id", "budget", "period_start", name="pk_hold_claims"),
    )
    op.create_index("ix_hold_claims_tenant_budget_period_start", "hold_claims", ["tenant", "budget", "period_start"])
    op.create_table(
        "holds",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("root_uid", sa.String(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("demand", sa.Text(), nullable=False),
        sa.Column("quote", sa.String(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "hold_id", name="pk_holds"),
        sa.UniqueConstraint("tenant", "cluster", "root_uid", "part", name="uq_holds_tenant_cluster_root_uid_part"),
    )
    op.create_index(
        "ix_holds_tenant_cluster_resource_namespace_name",
        "holds",
        ["tenant", "cluster", "resource", "namespace", "name"],
    )
    op.create_table(
        "postings",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("fact_type", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("posted_mj", sa.BigInteger(), nullable=True),
        sa.Column("posted_ug", sa.BigInteger(), nullable=True),
        sa.Column("posted_micros", sa.BigInteger(), nullable=True),
        sa.Column("pending_mj", sa.BigInteger(), nullable=False),
        sa.Column("pending_ug", sa.BigInteger(), nullable=False),
        sa.Column("pending_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "fact_type", "fact_id", "budget", "period_start", name="pk_postings"),
    )
    op.create_index(
        "ix_postings_tenant_budget_period_start_posted_at",
        "postings",
        ["tenant", "budget", "period_start", "posted_at"],
    )
    op.create_index("ix_postings_tenant_hold_id", "postings", ["tenant", "hold_id"])
    op.create_table(
        "rates",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("rate_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("set_id", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "rate_id", name="pk_rates"),
        sa.UniqueConstraint("tenant", "kind", "identity", name="uq_rates_tenant_kind_identity"),
    )
    op.create_table(
        "record_slices",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("record_id", sa.String(), nullable=False),
        sa.Column("device_uuid", sa.String(), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gpu_model", sa.String(), nullable=False),
        sa.Column("gpu_ns", sa.BigInteger(), nullable=False),
        sa.Column("missing_ns", sa.BigInteger(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=True),
        sa.Column("carbon_location_ug", sa.BigInteger(), nullable=True),
        sa.Column("carbon_market_ug", sa.BigInteger(), nullable=True),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("site_rate", sa.String(), nullable=True),
        sa.Column("location_rate", sa.String(), nullable=True),
        sa.Column("market_rate", sa.String(), nullable=True),
        sa.Column("price_rate", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "record_id", "device_uuid", "boundary", "quarter", name="pk_record_slices"),
    )
    op.create_table(
        "records",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("record_id", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("run_uid", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=True),
        sa.Column("pipeline", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("variant", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("self_reported", sa.Boolean(), nullable=False),
        sa.Column("charged", sa.Boolean(), nullable=False),
        sa.Column("budgets", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "record_id", name="pk_records"),
    )
    op.create_index("ix_records_tenant_kind_model_started_at", "records", ["tenant", "kind", "model", "started_at"])
    op.create_index("ix_records_tenant_run_uid", "records", ["tenant", "run_uid"])
    op.create_index("ix_records_tenant_started_at_record_id", "records", ["tenant", "started_at", "record_id"])
    op.create_table(
        "versions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("hierarchy", sa.BigInteger(), nullable=False),
        sa.Column("rates", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_versions"),
    )
