"""Places in the log, its nodes, checkpoints and pseudonyms; and triggers that keep what is written as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

APPEND_ONLY = ("entries", "log_leaves", "log_nodes", "log_checkpoints", "log_retentions")


def upgrade() -> None:
    """Add tables, put what was written before into the queue, and close the tables to changes."""
    op.create_table(
        "log_heads",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_log_heads"),
    )
    op.create_table(
        "log_queue",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("writer_id", sa.String(), nullable=False),
        sa.Column("writer_epoch", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "writer_id", "writer_epoch", "first_seq", name="pk_log_queue"),
    )
    op.create_index("ix_log_queue_tenant_held_recorded_at", "log_queue", ["tenant", "held", "recorded_at"])
    op.create_table(
        "log_leaves",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("writer_id", sa.String(), nullable=False),
        sa.Column("writer_epoch", sa.BigInteger(), nullable=False),
        sa.Column("writer_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "leaf_index", name="pk_log_leaves"),
        sa.UniqueConstraint(
            "tenant",
            "writer_id",
            "writer_epoch",
            "writer_seq",
            name="uq_log_leaves_tenant_writer_id_writer_epoch_writer_seq",
        ),
    )
    op.create_index("ix_log_leaves_tenant_leaf_hash", "log_leaves", ["tenant", "leaf_hash"])
    op.create_table(
        "log_nodes",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "level", "position", name="pk_log_nodes"),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "number", name="pk_log_checkpoints"),
    )
    op.create_table(
        "log_retentions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("before_index", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "before_index", name="pk_log_retentions"),
    )
    op.create_table(
        "pseudonyms",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "pseudonym", name="pk_pseudonyms"),
        sa.UniqueConstraint("tenant", "principal", name="uq_pseudonyms_tenant_principal"),
    )
    op.create_table(
        "disclosures",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("commitment", sa.String(), nullable=False),
        sa.Column("salt", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "commitment", name="pk_disclosures"),
    )
    op.execute(
        "INSERT INTO log_queue (tenant, writer_id, writer_epoch, first_seq, last_seq, recorded_at, held) "
        "SELECT tenant, writer_id, writer_epoch, min(writer_seq), max(writer_seq), min(recorded_at), false "
        "FROM entries GROUP BY tenant, writer_id, writer_epoch"
    )
    if op.get_bind().dialect.name == "sqlite":
        _close_sqlite()
    else:
        _close_postgresql()


# A body may go only where a retention covers its leaf; the leaf itself stays.
RETAINED = (
    "SELECT 1 FROM log_leaves AS l JOIN log_retentions AS r ON r.tenant = l.tenant AND l.leaf_index < r.before_index "
    "WHERE l.tenant = OLD.tenant AND l.writer_id = OLD.writer_id "
    "AND l.writer_epoch = OLD.writer_epoch AND l.writer_seq = OLD.writer_seq"
)


def _close_sqlite() -> None:
    for table in APPEND_ONLY:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is only ever added to'); END"
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        when = f"WHEN NOT EXISTS ({RETAINED})" if table == "entries" else ""
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {when} {refuse}")


def _close_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION joulegate_only_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $$"
    )
    op.execute(
        "CREATE FUNCTION joulegate_only_retained() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF EXISTS ({RETAINED}) THEN RETURN OLD; END IF; "
        "RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $$"
    )
    for table in APPEND_ONLY:
        delete = "joulegate_only_retained" if table == "entries" else "joulegate_only_added"
        for name, event, each, function in (
            ("no_update", "UPDATE", "ROW", "joulegate_only_added"),
            ("no_delete", "DELETE", "ROW", delete),
            ("no_truncate", "TRUNCATE", "STATEMENT", "joulegate_only_added"),
        ):
            op.execute(
                f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"
            )
            # Without ALWAYS, a session that calls itself a replica would not fire it.
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{name}")
