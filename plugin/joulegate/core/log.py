"""Entries of the log: one canonical form, one hash, one chain for each writer.

An entry is written in the transaction of its fact, *unsequenced*: it knows its
writer, its place in that writer's chain and the hash of the entry before it. Its
place in the whole log is given later, by the sequencer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from joulegate.core.errors import InvalidInputError

ENVELOPE_VERSION: Final = 1
WHOLE_MAX: Final = 2**53 - 1
"""Largest whole number that every JSON reader reads exactly (RFC 8785, 3.2.2.3); quantities are decimal strings."""

_FIELDS: Final = (
    "at",
    "body",
    "id",
    "previous",
    "tenant",
    "type",
    "version",
    "writer_epoch",
    "writer_id",
    "writer_seq",
)


class EntryType(StrEnum):
    """What an entry tells."""

    RECORD = "record"
    DECISION = "decision"
    BUDGET = "budget"
    BUDGET_CLOSED = "budget_closed"
    INTENSITY_SET = "intensity_set"
    PRICE_SET = "price_set"
    SITE_SET = "site_set"
    INSTRUMENT_SET = "instrument_set"
    UNADMITTED_USAGE = "unadmitted_usage"
    HOLD_CONFIRMED = "hold_confirmed"
    HOLD_REPLACED = "hold_replaced"
    HOLD_EXPIRED = "hold_expired"
    HOLD_SHRUNK = "hold_shrunk"
    HOLD_ENDED = "hold_ended"
    HOLD_RELEASED = "hold_released"
    HOLD_CLOSED = "hold_closed"
    DEVICE = "device"
    WINDOWS = "windows"
    WINDOWS_QUARANTINED = "windows_quarantined"
    ATTRIBUTED = "attributed"
    ESTIMATE = "estimate"
    ESTIMATE_REVERSED = "estimate_reversed"
    PRICING = "pricing"
    REPRICING = "repricing"
    WINDOWS_PRICED = "windows_priced"
    WINDOWS_REPRICED = "windows_repriced"
    CORRECTION = "correction"
    EXCEPTION_REQUESTED = "exception_requested"
    EXCEPTION_APPROVED = "exception_approved"
    EXCEPTION_EXPIRED = "exception_expired"
    PERIOD_CLOSED = "period_closed"
    CHANGE_REQUESTED = "change_requested"
    CHANGE_APPROVED = "change_approved"
    CHANGE_REJECTED = "change_rejected"
    REPORT = "report"
    KEY_EVENT = "key_event"
    RECOVERY = "recovery"
    RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact in the log.

    ``type`` and ``id`` name the fact, ``at`` is the database's clock (RFC 3339),
    ``previous`` the leaf hash (hex) of the entry that the same writer wrote before
    in this epoch, None for its first. An epoch begins anew where the writer
    cannot know whether its last entry was kept.
    """

    tenant: str
    type: str
    id: str
    at: str
    body: Mapping[str, Any]
    writer_id: str
    writer_epoch: int
    writer_seq: int
    previous: str | None
    version: int = ENVELOPE_VERSION


def canonical(value: object) -> bytes:
    """Write ``value`` as RFC 8785 (JSON Canonicalization Scheme), restricted to what has one form everywhere.

    Strings, booleans, null, whole numbers up to 2**53 - 1, lists, and objects
    with string keys. Anything else raises :class:`InvalidInputError`: a float
    has many forms, so fractions and quantities go as strings.
    """
    try:
        text = _WRITE_SORTED(value) if _is_simple([value]) else _WRITE(_plain(value))
        return text.encode("utf-8")
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidInputError(f"cannot be written canonically: {error}") from error


def envelope(entry: Entry) -> bytes:
    """The canonical bytes of an entry: what is hashed, kept and shown."""
    return sealed(entry, canonical(entry.body).decode())


def sealed(entry: Entry, body: str) -> bytes:
    """The canonical bytes of an entry with ``body``, which is in canonical form, in the place of its own."""
    previous = "null" if entry.previous is None else quoted(entry.previous)
    text = (
        f'{{"at":{quoted(entry.at)},"body":{body},"id":{quoted(entry.id)},"previous":{previous},'
        f'"tenant":{quoted(entry.tenant)},"type":{quoted(entry.type)},"version":{entry.version},'
        f'"writer_epoch":{entry.writer_epoch},"writer_id":{quoted(entry.writer_id)},"writer_seq":{entry.writer_seq}}}'
    )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"cannot be written canonically: {error}") from error


def read_entry(data: bytes) -> Entry:
    """Read an entry back; raises :class:`InvalidInputError` where ``data`` is not the canonical form of one."""
    fields = read_canonical(data)
    if not isinstance(fields, dict) or tuple(fields) != _FIELDS:
        raise InvalidInputError("is not the canonical form of an entry")
    if fields["version"] != ENVELOPE_VERSION or not isinstance(fields["body"], dict):
        raise InvalidInputError(f"is no entry of version {ENVELOPE_VERSION}")
    return Entry(**fields)


def read_canonical(data: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Read what :func:`canonical` wrote; raises :class:`InvalidInputError` for any other form of it."""
    try:
        value = json.loads(data, parse_float=_refuse, parse_constant=_refuse, parse_int=_bounded)
        # Sorting by code points is quick, and nearly always the order of RFC 8785.
        quick = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"is not JSON: {error}") from error
    if quick != data and canonical(value) != data:
        raise InvalidInputError("is not in canonical form")
    return value


def _refuse(text: str) -> object:
    raise InvalidInputError(f"{text[:20]} is a number that has no canonical form")


def _bounded(text: str) -> int:
    if len(text) > len(str(-WHOLE_MAX)) or abs(number := int(text)) > WHOLE_MAX:
        raise InvalidInputError(f"{text[:20]} is too large for a number")
    return number


_WRITE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
quoted: Final[Callable[[str], str]] = json.encoder.encode_basestring
"""A string in canonical form."""

_WRITE_SORTED: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
).encode


def _is_simple(items: Iterable[object]) -> bool:
    """Whether the sorting writer has the one form of these: plain types only, and keys that sort alike everywhere."""
    for found in items:
        kind = type(found)
        if kind is str or found is None or kind is bool:
            continue
        if kind is dict:
            for key in found:  # type: ignore[attr-defined]
                if type(key) is not str or not key.isascii():
                    return False
            if not _is_simple(found.values()):  # type: ignore[attr-defined]
                return False
        elif kind is int:
            if not -WHOLE_MAX <= found <= WHOLE_MAX:  # type: ignore[operator]
                return False
        elif not (kind is list or kind is tuple) or not _is_simple(found):  # type: ignore[arg-type]
            return False
    return True


def _plain(value: object) -> object:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {key: _plain(value[key]) for key in _in_order(value)}  # type: ignore[index]
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]  # type: ignore[attr-defined]
    return _unusual(value)


def _unusual(value: object) -> object:
    """What is not of a plain type itself, but may be of one that is derived from it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if abs(value) > WHOLE_MAX:
            raise InvalidInputError(f"{value} is too large for a number; quantities are decimal strings")
        return value
    if isinstance(value, Mapping):
        return _plain(dict(value))
    if isinstance(value, list | tuple):
        return _plain(list(value))
    raise InvalidInputError(f"{type(value).__name__} has no canonical form")


def _in_order(value: object) -> list[str]:
    keys: list[str] = list(value)  # type: ignore[call-overload]
    try:
        if all(map(str.isascii, keys)):
            return sorted(keys)
    except TypeError as error:
        raise InvalidInputError(f"a key must be a string: {error}") from error
    return sorted(keys, key=lambda key: key.encode("utf-16-be", "surrogatepass"))  # RFC 8785 sorts by UTF-16 code units
