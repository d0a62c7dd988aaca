"""What Alembic runs: the revisions, on the connection that :mod:`joulegate_migrations.history` opened and locked."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True, transactional_ddl=True)
context.run_migrations()
