"""The tables of what meters and the operator report: devices, windows, charges, objects, inventories."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Index, PrimaryKeyConstraint, Table

from joulegate_api.store.columns import Json, amounts, instant, metadata, tenant, text, whole

objects: Final = Table(
    "objects",
    metadata,
    tenant(),
    text("cluster"),
    text("uid"),
    text("owner_uid", null=True),
    text("root_uid"),
    text("namespace"),
    text("name"),
    text("node", null=True),
    instant("seen_at"),
    instant("ended_at", null=True),
    Column("demand", Json, nullable=True),
    Column("is_pod", Boolean, nullable=False),
    Column("terminating", Boolean, nullable=False),
    whole("surge"),
    PrimaryKeyConstraint("tenant", "cluster", "uid"),
    Index(None, "tenant", "cluster", "root_uid"),
)
"""Objects of a cluster and the root that each belongs to; ``surge`` pods more than it asks for may run for a while."""

inventories: Final = Table(
    "inventories",
    metadata,
    tenant(),
    text("cluster"),
    text("kind"),
    instant("begun_at"),
    instant("received_at"),
    Column("complete", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant", "cluster", "kind"),
)
"""The newest list of a kind that the operator sent."""

devices: Final = Table(
    "devices",
    metadata,
    tenant(),
    text("uuid"),
    instant("enrolled_at"),
    text("cluster"),
    text("node"),
    text("model"),
    whole("enforced_limit_mw", null=True),
    instant("retired_at", null=True),
    PrimaryKeyConstraint("tenant", "uuid", "enrolled_at"),
    Index(None, "tenant", "cluster", "node"),
)
"""Accelerators that are expected to be measured, from when to when."""

meters: Final = Table(
    "meters",
    metadata,
    tenant(),
    text("incarnation"),
    text("cluster"),
    text("node"),
    whole("accepted_seq"),
    instant("seen_at"),
    PrimaryKeyConstraint("tenant", "incarnation"),
    Index(None, "tenant", "cluster", "node"),
)
"""One row a log of a node meter; ``accepted_seq`` is its contiguous high-water mark, -1 before the first window."""

windows: Final = Table(
    "windows",
    metadata,
    tenant(),
    text("incarnation"),
    whole("window_seq"),
    text("content_hash"),
    text("cluster"),
    text("device_uuid"),
    instant("start"),
    instant("end"),
    whole("energy_start_mj"),
    whole("energy_end_mj"),
    whole("active_mj"),
    whole("idle_mj"),
    whole("allocated_gpu_ns"),
    text("pod_uid", null=True),
    text("container", null=True),
    Column("body", Json, nullable=False),
    instant("accepted_at"),
    PrimaryKeyConstraint("tenant", "incarnation", "window_seq"),
    Index(None, "tenant", "device_uuid", "end"),
)
"""Accepted windows of energy."""

quarantine: Final = Table(
    "quarantine",
    metadata,
    tenant(),
    text("incarnation"),
    whole("window_seq"),
    text("content_hash"),
    text("reason"),
    Column("body", Json, nullable=False),
    instant("received_at"),
    PrimaryKeyConstraint("tenant", "incarnation", "window_seq", "content_hash"),
)
"""Windows that contradict what is known: kept, named in the answer, charged nowhere."""

charges: Final = Table(
    "charges",
    metadata,
    tenant(),
    text("cluster"),
    text("subject"),
    text("device_uuid"),
    instant("quarter"),
    text("rates_key"),
    text("root_uid", null=True),
    text("namespace"),
    text("gpu_model", null=True),
    text("site"),
    Column("budgets", Json, nullable=False),
    whole("gpu_ns"),
    whole("energy_mj"),
    whole("carbon_location_ug", null=True),
    whole("carbon_market_ug", null=True),
    whole("cost_micros", null=True),
    text("currency", null=True),
    text("site_rate", null=True),
    text("location_rate", null=True),
    text("market_rate", null=True),
    text("price_rate", null=True),
    PrimaryKeyConstraint("tenant", "cluster", "subject", "device_uuid", "quarter", "rates_key"),
    Index(None, "tenant", "cluster", "root_uid"),
)
"""Cumulative energy of a subject on a device in a quarter-hour, and what it was priced at as a whole."""

estimates: Final = Table(
    "estimates",
    metadata,
    tenant(),
    text("hold_id"),
    text("budget"),
    instant("period_start"),
    *amounts("posted", null=True),
    instant("posted_at"),
    Column("quarters", Json, nullable=True),
    *amounts("reversed"),
    instant("reversed_at", null=True),
    PrimaryKeyConstraint("tenant", "hold_id", "budget", "period_start"),
)
"""What was posted for time that no meter covered within the grace time, until its measurement comes.

``quarters`` says it by UTC quarter-hour: how long was not covered, and what was posted for it.
"""
