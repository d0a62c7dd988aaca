# ruff: noqa: ANN401 -- JSON and type hints are any value
"""Domain values as plain JSON values and back: the form in which they are kept and logged.

Quantities are decimal strings under a key that ends in their unit; an
:class:`~joulegate.core.units.Energy` in the field ``energy`` is written
``energy_mj``. Fractions of numbers are strings too, because the log knows no
floats. What was written is read back to an equal value. A field with the mark
``later`` in its metadata is left out while it is at its default, so that a value
reads and hashes as it did before the field was there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from fractions import Fraction
from functools import cache, lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from joulegate.core.errors import InvalidInputError
from joulegate.core.log import canonical, quoted
from joulegate.core.periods import format_instant, parse_instant
from joulegate.core.units import Carbon, Energy, Power

Value = TypeVar("Value")

_SUFFIX: Final[dict[type, str]] = {Energy: "_mj", Carbon: "_ug", Power: "_mw"}
_UNITS: Final = ("_mj", "_mw", "_ug", "_micros", "_ns")
_AMOUNTS: Final = frozenset({"micros", "asked", "available", "fits", "ug_per_kwh", "micros_per_unit", "wue_ul_per_kwh"})
"""Quantities whose unit stands in another field, or is a ratio of units."""

_ALWAYS: Final = object()
"""In the place of a default: the field is always written."""


def encode(value: object) -> Any:
    """Write a domain value as strings, booleans, whole numbers, lists and objects."""
    kind: type = type(value)
    return _writer(kind)(value)


def text(value: object) -> str:
    """The canonical form (:mod:`joulegate.core.log`) of what :func:`encode` writes, without the objects between."""
    kind: type = type(value)
    return _speller(kind)(value)


@lru_cache(maxsize=1_024)
def instant_text(instant: datetime) -> str:
    """The canonical form of an instant."""
    return f'"{format_instant(instant)}"'


def decode(kind: type[Value], data: Any) -> Value:
    """Read back what :func:`encode` wrote of a ``kind``; raises :class:`InvalidInputError` for anything else."""
    try:
        value: Value = _decode(kind, data)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise InvalidInputError(f"is not what was written of a {kind.__name__}: {error!r}") from error
    return value


@cache
def later(kind: type) -> Mapping[str, object]:
    """The fields of a dataclass that came later, with the default that stands for their absence."""
    return {part.name: part.default for part in fields(kind) if part.metadata.get("later")}


@cache
def _writer(kind: type) -> Callable[[Any], Any]:  # noqa: PLR0911 -- one line a type
    """How values of a type are written: found once, because every decision writes many."""
    if is_dataclass(kind):
        return _object_writer(kind)
    if issubclass(kind, Enum):
        return attrgetter("_value_")
    if issubclass(kind, datetime):
        return format_instant
    if issubclass(kind, float):
        return repr
    if issubclass(kind, Fraction):
        return str
    if issubclass(kind, frozenset):
        return lambda value: [encode(item) for item in sorted(value)]
    if issubclass(kind, tuple | list):
        return lambda value: [encode(item) for item in value]
    if issubclass(kind, Mapping):
        return lambda value: {str(key): encode(item) for key, item in value.items()}
    return lambda value: value


def _object_writer(kind: type) -> Callable[[Any], dict[str, Any]]:
    defaults = later(kind)
    parts = [
        (name, _key(name, hint), _part_writer(name, hint), defaults.get(name, _ALWAYS)) for name, hint in _kinds(kind)
    ]
    return lambda value: {
        written: part if (part := getattr(value, name)) is None or type(part) is str else write(part)
        for name, written, write, absent in parts
        if absent is _ALWAYS or getattr(value, name) != absent
    }


def _part_writer(name: str, hint: Any) -> Callable[[Any], Any]:
    """Quantities are decimal strings; everything else goes by its own type."""
    of_its_type = isinstance(hint, type) and issubclass(hint, Enum | datetime)
    if of_its_type:
        return _writer(hint)
    if hint in _SUFFIX:
        unit = attrgetter(_SUFFIX[hint][1:])
        return lambda value: str(unit(value))
    if name.endswith(_UNITS) or name in _AMOUNTS:
        return lambda value: str(value) if type(value) is int else encode(value)
    return encode


@cache
def _speller(kind: type) -> Callable[[Any], str]:
    """How values of a type are spelled: what is written often has a way of its own."""
    if is_dataclass(kind):
        return _object_speller(kind)
    if issubclass(kind, Enum):
        return lambda value: quoted(value._value_)
    if issubclass(kind, tuple | list):
        return lambda value: f"[{','.join([text(item) for item in value])}]"
    return quoted if kind is str else lambda value: canonical(encode(value)).decode()


def _object_speller(kind: type) -> Callable[[Any], str]:
    defaults = later(kind)
    parts = sorted((_key(name, hint), name, _part_speller(name, hint)) for name, hint in _kinds(kind))
    heads = [(f'"{written}":', write, defaults.get(name, _ALWAYS)) for written, name, write in parts]
    names = [name for _, name, _ in parts]
    values_of = attrgetter(*names) if len(names) > 1 else lambda value: [getattr(value, name) for name in names]

    def spell(value: Any) -> str:
        found = [
            head + ("null" if part is None else quoted(part) if type(part) is str else write(part))
            for (head, write, absent), part in zip(heads, values_of(value), strict=True)
            if absent is _ALWAYS or part != absent
        ]
        return f"{{{','.join(found)}}}"

    return spell


def _part_speller(name: str, hint: Any) -> Callable[[Any], str]:
    """As :func:`_part_writer`."""
    if isinstance(hint, type) and issubclass(hint, datetime):
        return instant_text
    if hint in _SUFFIX:
        unit = attrgetter(_SUFFIX[hint][1:])
        return lambda value: f'"{unit(value)}"'
    if name.endswith(_UNITS) or name in _AMOUNTS:
        return lambda value: f'"{value}"' if type(value) is int else text(value)
    return text


@cache
def _kinds(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((part.name, _bare(hints[part.name])) for part in fields(kind))


def _bare(hint: Any) -> Any:
    """The type itself where it may also be None."""
    if get_origin(hint) in (Union, UnionType):
        others = [part for part in get_args(hint) if part is not NoneType]
        return others[0] if len(others) == 1 else hint
    return hint


def _decode(kind: Any, data: Any) -> Any:  # noqa: PLR0911 -- one line a type
    if data is None:
        return None
    if get_origin(kind) in (Union, UnionType):  # of dataclasses: the one that has these fields
        kind = next(part for part in get_args(kind) if {name for name, _ in _kinds(part)} == set(data))
    if is_dataclass(kind) and isinstance(kind, type):
        known = ((name, part) for name, part in _kinds(kind) if name not in later(kind) or _key(name, part) in data)
        return kind(**{name: _field(name, part, data) for name, part in known})
    if kind is datetime:
        return parse_instant(data, "instant")
    if isinstance(kind, type) and issubclass(kind, Enum | int | float | Fraction) and kind is not bool:
        return kind(data)
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if parts[1:] == (...,):
            return tuple(_decode(_bare(parts[0]), item) for item in data)
        return tuple(_decode(_bare(part), item) for part, item in zip(parts, data, strict=True))
    return data


def _key(name: str, kind: Any) -> str:
    return name + _SUFFIX.get(kind, "")


def _field(name: str, kind: Any, data: Mapping[str, Any]) -> Any:
    written = data[_key(name, kind)]
    if kind not in _SUFFIX:
        return _decode(kind, written)
    return None if written is None else kind(int(written))
