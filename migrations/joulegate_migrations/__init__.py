"""The database's history, one revision after another, carried in the wheel.

What is *not* done here: no query that the API asks while it runs.
"""

from __future__ import annotations

from joulegate_migrations.history import check, head, upgrade

__all__ = ["check", "head", "upgrade"]
