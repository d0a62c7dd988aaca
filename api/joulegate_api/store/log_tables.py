"""The tables of the log beside its entries: places in the tree, its nodes, checkpoints, and what may be erased.

Leaves, nodes, checkpoints and retentions are only ever added; triggers hold the
database to that. The queue is emptied by the sequencer. Pseudonyms and
disclosures are the erasable side: the log holds no clear text of them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from joulegate_api.store.columns import instant, metadata, tenant, text, whole

log_heads: Final = Table(
    "log_heads",
    metadata,
    tenant(),
    whole("epoch"),
    text("holder"),
    whole("size"),
    Column("peaks", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant"),
)
"""Who may sequence (the epoch is the fence), how many leaves there are, and the roots of the perfect subtrees."""

log_queue: Final = Table(
    "log_queue",
    metadata,
    tenant(),
    text("writer_id"),
    whole("writer_epoch"),
    whole("first_seq"),
    whole("last_seq"),
    instant("recorded_at"),
    Column("held", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant", "writer_id", "writer_epoch", "first_seq"),
    Index(None, "tenant", "held", "recorded_at"),
)
"""Stretches of chains, one a transaction, that have no place in the log yet; ``held`` where a chain does not hold."""

log_leaves: Final = Table(
    "log_leaves",
    metadata,
    tenant(),
    whole("leaf_index"),
    Column("leaf_hash", LargeBinary, nullable=False),
    text("writer_id"),
    whole("writer_epoch"),
    whole("writer_seq"),
    PrimaryKeyConstraint("tenant", "leaf_index"),
    UniqueConstraint("tenant", "writer_id", "writer_epoch", "writer_seq"),
    Index(None, "tenant", "leaf_hash"),
)
"""The log, in its order. A leaf stays for ever, its entry's body until it is pruned."""

log_nodes: Final = Table(
    "log_nodes",
    metadata,
    tenant(),
    Column("level", Integer, nullable=False),
    whole("position"),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "level", "position"),
)
"""Roots of perfect subtrees of every fourth level; those between are a few hashes away."""

log_checkpoints: Final = Table(
    "log_checkpoints",
    metadata,
    tenant(),
    whole("number"),
    whole("epoch"),
    whole("size"),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    instant("signed_at"),
    PrimaryKeyConstraint("tenant", "number"),
)
"""Every checkpoint that was signed."""

log_retentions: Final = Table(
    "log_retentions",
    metadata,
    tenant(),
    whole("before_index"),
    instant("recorded_at"),
    PrimaryKeyConstraint("tenant", "before_index"),
)
"""Bodies of leaves below the index may be deleted; an entry of the log says so too."""

pseudonyms: Final = Table(
    "pseudonyms",
    metadata,
    tenant(),
    text("pseudonym"),
    text("principal"),
    PrimaryKeyConstraint("tenant", "pseudonym"),
    UniqueConstraint("tenant", "principal"),
)
"""Who is meant by a pseudonym of the log; without the row nobody knows."""

disclosures: Final = Table(
    "disclosures",
    metadata,
    tenant(),
    text("commitment"),
    text("salt"),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "commitment"),
)
"""What a commitment of the log commits to; without the row nobody can find out."""

APPEND_ONLY: Final = ("entries", "log_leaves", "log_nodes", "log_checkpoints", "log_retentions")
"""Tables whose rows no statement may change; see the triggers of the migrations."""
