"""What live objects use, and estimates that are taken back as far as their time was measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns; nothing that was written changes."""
    with op.batch_alter_table("objects") as table:
        table.add_column(sa.Column("demand", sa.Text(), nullable=True))
        table.add_column(sa.Column("is_pod", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("terminating", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("surge", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("estimates") as table:
        table.add_column(sa.Column("quarters", sa.Text(), nullable=True))
        for unit in ("mj", "ug", "micros"):
            table.add_column(sa.Column(f"reversed_{unit}", sa.BigInteger(), nullable=False, server_default="0"))
