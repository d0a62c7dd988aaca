"""The tables of adoption: which operators told of themselves, and which scopes they have adopted."""

from __future__ import annotations

from typing import Final

from sqlalchemy import PrimaryKeyConstraint, Table

from joulegate_api.store.columns import instant, metadata, tenant, text

operators: Final = Table(
    "operators",
    metadata,
    tenant(),
    text("cluster"),
    instant("seen_at"),
    PrimaryKeyConstraint("tenant", "cluster"),
)
"""Clusters that have an operator; ``seen_at`` is written at most once a minute."""

adoptions: Final = Table(
    "adoptions",
    metadata,
    tenant(),
    text("cluster"),
    text("budget"),
    text("scope_hash"),
    instant("adopted_at"),
    PrimaryKeyConstraint("tenant", "cluster", "budget"),
)
"""The scope of each budget as it was when everything that ran in it had been adopted."""
