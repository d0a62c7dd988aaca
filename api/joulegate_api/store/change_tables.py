"""The table of changes that wait for a second person."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Index, PrimaryKeyConstraint, Table

from joulegate_api.store.columns import Json, instant, metadata, tenant, text

changes: Final = Table(
    "changes",
    metadata,
    tenant(),
    text("change_id"),
    text("kind"),
    text("subject"),
    Column("body", Json, nullable=False),
    text("content_hash"),
    text("reason", null=True),
    text("requested_by"),
    instant("requested_at"),
    text("decided_by", null=True),
    instant("decided_at", null=True),
    Column("approved", Boolean, nullable=True),
    PrimaryKeyConstraint("tenant", "change_id"),
    Index(None, "tenant", "decided_at"),
)
"""What somebody wants to change, and who else decided; ``approved`` is NULL while it waits."""
