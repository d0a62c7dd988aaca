"""Every table that the program knows, in one place for the check against the migrations."""

from __future__ import annotations

from joulegate_api.store import adoption_tables, change_tables, log_tables, meter_tables, tables
from joulegate_api.store.columns import metadata

__all__ = ["adoption_tables", "change_tables", "log_tables", "metadata", "meter_tables", "tables"]
