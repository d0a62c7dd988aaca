"""Asks a source over HTTP with the standard library: bounded, without redirects, and without telling a secret."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

import joulegate
from joulegate.addresses import is_loopback
from joulegate.client import opener_for
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.periods import Period, parse_instant

TIMEOUT_S: Final = 30.0
LARGEST_ANSWER: Final = 8 * 2**20
_LONGEST_FOREIGN_TEXT: Final = 200
_MOST_DIGITS: Final = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the JSON, the address that was asked (it holds no secret), and the hash (hex) of the bytes."""

    value: Any
    address: str
    sha256: str


def ask(address: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Get JSON from ``address`` with ``query``; secrets travel in ``headers`` only, and only encrypted.

    Raises :class:`UnavailableError` where no answer of status 200 comes and :class:`InvalidInputError` where it
    is not JSON or too large. Nothing is tried again: whoever asks decides.
    """
    url = address + ("?" + urllib.parse.urlencode(query) if query else "")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise UnavailableError(f"{address!r} is neither https nor on this machine")
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise UnavailableError("the token, name or password holds a character that no header may hold")
    sent = {"Accept": "application/json", "User-Agent": f"joulegate/{joulegate.__version__}", **headers}
    request = urllib.request.Request(url, headers=sent)  # noqa: S310 -- scheme checked above
    try:
        with opener_for(url).open(request, timeout=TIMEOUT_S) as answer:
            content = bytes(answer.read(LARGEST_ANSWER + 1))
    except urllib.error.HTTPError as error:
        said = error.read(_LONGEST_FOREIGN_TEXT).decode("utf-8", "replace")
        error.close()
        raise UnavailableError(f"{address} answered {error.code} {error.reason}: {said}") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"no answer from {address}: {error}") from None
    if len(content) > LARGEST_ANSWER:
        raise InvalidInputError(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB", address)
    try:
        value = json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise InvalidInputError(f"the answer is not JSON: {content[:60]!r}", address) from None
    return Answer(value, url, sha256(content).hexdigest())


def listed(answer: Answer, *path: str) -> list[dict[str, Any]]:
    """The list of objects at ``path`` of an answer; raises :class:`InvalidInputError` where there is none."""
    value = answer.value
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidInputError(f"the answer has no list `{'.'.join(path)}` of objects", answer.address)
    return value


def number(value: object, where: str) -> Fraction | None:
    """A finite JSON number exactly, None where it is null; raises :class:`InvalidInputError`."""
    if value is None:
        return None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        written = Decimal(value)
        if written.is_finite() and abs(written.adjusted()) <= _MOST_DIGITS:  # 1e999999 is cheap to write
            return Fraction(written)
    raise InvalidInputError(f"{str(value)[:60]!r} is not a number", where)


def instant(value: object, where: str) -> datetime:
    """An instant as sources write them: RFC 3339 with ``Z`` or ``+00:00``, seconds may be absent."""
    text = str(value).replace("+00:00", "Z")
    return parse_instant(text[:-1] + ":00Z" if len(text) == len("2026-11-24T03:00Z") else text, where)


def stretches(period: Period, longest: timedelta) -> Iterator[Period]:
    """A period in pieces that a source takes at once."""
    start = period.start
    while start < period.end:
        end = min(start + longest, period.end)
        yield Period(start, end)
        start = end
