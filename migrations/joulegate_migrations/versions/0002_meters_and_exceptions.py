"""What meters and the operator report, exceptions, and what periods and corrections need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add tables and columns; nothing that was written changes."""
    with op.batch_alter_table("balances") as table:
        table.add_column(sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("hold_claims") as table:
        for unit in ("mj", "ug", "micros"):
            table.add_column(sa.Column(f"given_back_{unit}", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("postings") as table:
        table.add_column(sa.Column("corrects_period", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("records") as table:
        table.add_column(sa.Column("root_uid", sa.String(), nullable=True))
    op.create_index("ix_records_tenant_cluster_root_uid", "records", ["tenant", "cluster", "root_uid"])
    _create_tables()


def _create_tables() -> None:
    op.create_table(
        "charges",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("device_uuid", sa.String(), nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rates_key", sa.String(), nullable=False),
        sa.Column("root_uid", sa.String(), nullable=True),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("gpu_model", sa.String(), nullable=True),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("budgets", sa.Text(), nullable=False),
        sa.Column("gpu_ns", sa.BigInteger(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("carbon_location_ug", sa.BigInteger(), nullable=True),
        sa.Column("carbon_market_ug", sa.BigInteger(), nullable=True),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("site_rate", sa.String(), nullable=True),
        sa.Column("location_rate", sa.String(), nullable=True),
        sa.Column("market_rate", sa.String(), nullable=True),
        sa.Column("price_rate", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint(
            "tenant", "cluster", "subject", "device_uuid", "quarter", "rates_key", name="pk_charges"
        ),
    )
    op.create_index("ix_charges_tenant_cluster_root_uid", "charges", ["tenant", "cluster", "root_uid"])
    op.create_table(
        "devices",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("enforced_limit_mw", sa.BigInteger(), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "uuid", "enrolled_at", name="pk_devices"),
    )
    op.create_index("ix_devices_tenant_cluster_node", "devices", ["tenant", "cluster", "node"])
    op.create_table(
        "estimates",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("posted_mj", sa.BigInteger(), nullable=True),
        sa.Column("posted_ug", sa.BigInteger(), nullable=True),
        sa.Column("posted_micros", sa.BigInteger(), nullable=True),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "hold_id", "budget", "period_start", name="pk_estimates"),
    )
    op.create_table(
        "exceptions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("exception_id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("budgets", sa.Text(), nullable=False),
        sa.Column("amount_mj", sa.BigInteger(), nullable=False),
        sa.Column("amount_ug", sa.BigInteger(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ticket", sa.String(), nullable=True),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by", sa.String(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "exception_id", name="pk_exceptions"),
    )
    op.create_table(
        "grants",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("exception_id", sa.String(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("granted_mj", sa.BigInteger(), nullable=False),
        sa.Column("granted_ug", sa.BigInteger(), nullable=False),
        sa.Column("granted_micros", sa.BigInteger(), nullable=False),
        sa.Column("used_mj", sa.BigInteger(), nullable=False),
        sa.Column("used_ug", sa.BigInteger(), nullable=False),
        sa.Column("used_micros", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "exception_id", "budget", "period_start", name="pk_grants"),
    )
    op.create_index("ix_grants_tenant_budget_period_start", "grants", ["tenant", "budget", "period_start"])
    op.create_table(
        "inventories",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "cluster", "kind", name="pk_inventories"),
    )
    op.create_table(
        "meters",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("accepted_seq", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "incarnation", name="pk_meters"),
    )
    op.create_index("ix_meters_tenant_cluster_node", "meters", ["tenant", "cluster", "node"])
    op.create_table(
        "objects",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("owner_uid", sa.String(), nullable=True),
        sa.Column("root_uid", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "cluster", "uid", name="pk_objects"),
    )
    op.create_index("ix_objects_tenant_cluster_root_uid", "objects", ["tenant", "cluster", "root_uid"])
    op.create_table(
        "quarantine",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("window_seq", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "incarnation", "window_seq", "content_hash", name="pk_quarantine"),
    )
    op.create_table(
        "windows",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("window_seq", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("device_uuid", sa.String(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("energy_start_mj", sa.BigInteger(), nullable=False),
        sa.Column("energy_end_mj", sa.BigInteger(), nullable=False),
        sa.Column("active_mj", sa.BigInteger(), nullable=False),
        sa.Column("idle_mj", sa.BigInteger(), nullable=False),
        sa.Column("allocated_gpu_ns", sa.BigInteger(), nullable=False),
        sa.Column("pod_uid", sa.String(), nullable=True),
        sa.Column("container", sa.String(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "incarnation", "window_seq", name="pk_windows"),
    )
    op.create_index("ix_windows_tenant_device_uuid_end", "windows", ["tenant", "device_uuid", "end"])
