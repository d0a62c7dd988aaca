# ruff: noqa: ANN401 -- JSON is any value
"""Columns that every table is made of: tenants, instants, whole amounts by unit, JSON."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, Column, DateTime, Dialect, MetaData, String, Text, TypeDecorator

Value = TypeVar("Value")

_NAMES: Final = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
metadata: Final = MetaData(naming_convention=_NAMES)


compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""JSON in one line, keys in the order they were given."""


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC. SQLite keeps no time zone, so there it is written without one and read back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive instant: nobody knows which one it is."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"{value} has no time zone"
            raise ValueError(message)
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Written(str):
    """JSON as text already."""

    __slots__ = ()


class Json(TypeDecorator[Any]):
    """Plain JSON as text: both databases keep the same characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write compactly, keys in the order they were given; what is written already stays as it is."""
        return value if value is None or type(value) is Written else compact(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Read back."""
        return None if value is None else json.loads(value)


def padded(values: Collection[Value]) -> list[Value]:
    """A list for IN, filled up with one of its own to a power of two, so that few statements are ever prepared."""
    found = list(values)
    return found + found[-1:] * ((1 << (len(found) - 1).bit_length()) - len(found)) if found else found


def tenant() -> Column[str]:
    """The first column of every key."""
    return Column("tenant", String, nullable=False)


def text(name: str, *, null: bool = False) -> Column[str]:
    """A string."""
    return Column(name, String, nullable=null)


def whole(name: str, *, null: bool = False) -> Column[int]:
    """A whole number of 64 bits."""
    return Column(name, BigInteger, nullable=null)


def instant(name: str, *, null: bool = False) -> Column[datetime]:
    """An instant in UTC."""
    return Column(name, Instant, nullable=null)


def amounts(stem: str, *, null: bool = False) -> list[Column[int]]:
    """One column a unit. Where energy is known and carbon or money are not, those are NULL, never zero."""
    return [whole(f"{stem}_mj", null=null), whole(f"{stem}_ug", null=null), whole(f"{stem}_micros", null=null)]
