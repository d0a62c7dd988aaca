"""When a record was reversed: what is reversed is neither priced nor waited for any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column, and fill it from the corrections that were posted."""
    with op.batch_alter_table("records") as table:
        table.add_column(sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE records SET reversed_at = (SELECT min(posted_at) FROM postings WHERE postings.tenant = records.tenant "
        "AND postings.fact_type = 'correction' AND postings.fact_id = records.record_id)"
    )
