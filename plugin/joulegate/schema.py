"""What a JSON field of a body may hold, as marks beside its type.

Plain values of the standard library. pydantic, which only the API has, asks a
mark for its rule (``__get_pydantic_core_schema__``) and for its part of
``/openapi.json``; a sender only uses the types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import parse_instant

FACT_MAX_MJ: Final = 10**13
"""Largest energy of one fact where the board's limit is unknown: 2.8 MWh."""

JSON_WHOLE_MAX: Final = 2**53 - 1
"""Largest whole number that every JSON reader keeps exactly (RFC 8259, section 6)."""

STRICT: Final[Any] = {"extra": "forbid", "strict": True}
"""The ``__pydantic_config__`` of every body: unknown fields are refused, nothing is converted."""

_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"  # control characters would act on a reader's terminal

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quantity:
    """Marks whole base units: a decimal string, or a JSON number of at most 2**53 - 1."""

    least: int = 0
    most: int = FACT_MAX_MJ

    def read(self, value: object) -> int:
        """Read what JSON holds; raises ``ValueError``."""
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= JSON_WHOLE_MAX:
            number = value
        elif isinstance(value, str) and _DECIMAL.fullmatch(value):
            number = int(value)
        else:
            raise ValueError(f"must be a whole number as a decimal string, or up to {JSON_WHOLE_MAX} as a number")
        if not self.least <= number <= self.most:
            raise ValueError(f"must lie between {self.least} and {self.most}")
        return number

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Schema:
        return _before(self.read, {"type": "int"})

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> Schema:
        whole = {
            "type": "integer",
            "minimum": self.least,
            "maximum": min(self.most, JSON_WHOLE_MAX),
        }
        return {"anyOf": [{"type": "string", "pattern": f"^{_DECIMAL.pattern}$"}, whole]}


@dataclass(frozen=True, slots=True)
class Count:
    """Marks a plain whole JSON number."""

    least: int = 0
    most: int = JSON_WHOLE_MAX

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Schema:
        return {"type": "int", "strict": True, "ge": self.least, "le": self.most}


@dataclass(frozen=True, slots=True)
class Number:
    """Marks a finite JSON number that is no quantity: a share, an accuracy."""

    least: float | None = None
    most: float | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Schema:
        bounds = {"ge": self.least, "le": self.most}
        return {"type": "float", "strict": True, "allow_inf_nan": False} | {
            k: v for k, v in bounds.items() if v is not None
        }


@dataclass(frozen=True, slots=True)
class Text:
    """Marks one line of text, not empty, without control characters."""

    longest: int = 253
    pattern: str = _PLAIN

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Schema:
        return {
            "type": "str",
            "strict": True,
            "min_length": 1,
            "max_length": self.longest,
            "pattern": self.pattern,
        }


@dataclass(frozen=True, slots=True)
class Instant:
    """Marks an RFC 3339 instant in UTC, written with ``Z``, from the start of a year to the end of another."""

    first_year: int = 2000
    last_year: int = 2199

    def read(self, value: object) -> datetime:
        """Read what JSON holds; raises ``ValueError``."""
        try:
            instant = parse_instant(value, "")
        except InvalidInputError as error:
            raise ValueError(error.message) from error
        if not self.first_year <= instant.year <= self.last_year:
            raise ValueError(f"must lie in the years {self.first_year} to {self.last_year}")
        return instant

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Schema:
        return _before(self.read, {"type": "datetime"})

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> Schema:
        return {"type": "string", "format": "date-time", "pattern": "Z$"}


@dataclass(frozen=True, slots=True)
class Items:
    """Marks a list of at most ``most`` items."""

    most: int = 1_000

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], Schema]) -> Schema:
        return handler(source) | {"max_length": self.most}


def _before(read: Callable[[object], object], schema: Schema) -> Schema:
    return {
        "type": "function-before",
        "function": {"type": "no-info", "function": read},
        "schema": schema,
    }


Mj = Annotated[int, Quantity()]
Moment = Annotated[datetime, Instant()]
Validity = Annotated[datetime, Instant(1970, 9999)]
"""A bound of the time in which a row is in force; people write 9999 for no end."""
Line = Annotated[str, Text()]
Word = Annotated[str, Text(64)]
Identity = Annotated[str, Text(128, r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
"""An id that goes into an address as it is."""
Currency = Annotated[str, Text(3, "^[A-Z]{3}$")]
"""A code of ISO 4217."""
Flags = Annotated[tuple[Word, ...], Items(32)]
Ns = Annotated[int, Quantity(0, 10**18)]
"""A length of time: at most 31 years."""
Ratio = Annotated[str, Text(64, r"^-?[0-9]+(\.[0-9]+|/[1-9][0-9]*)?$")]
"""An exact number as text: whole, decimal, or a fraction."""
