"""Frozen quotes as they are kept: columns instead of rows, because a hold of a day has a hundred quarter-hours."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from joulegate.core.encoding import decode, encode
from joulegate.core.footprint import Reference
from joulegate.core.quotes import QuarterAmount, Quote
from joulegate.core.units import Money
from joulegate_api.store.columns import compact

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def write_quote(quote: Quote) -> str:
    """A quote as one line of JSON; instants are microseconds since 1970, amounts in mJ, ug and micros."""
    quarters = quote.quarters
    body = {
        "at_us": [(quarter.start - _EPOCH) // _MICROSECOND for quarter in quarters],
        "mj": [quarter.energy_mj for quarter in quarters],
        "ug": [quarter.carbon_ug for quarter in quarters],
        "micros": [None if quarter.cost is None else quarter.cost.micros for quarter in quarters],
        "currency": [None if quarter.cost is None else quarter.cost.currency for quarter in quarters],
        "references": _written(quote.references),
        "basis": quote.basis,
        "n": quote.n,
        "detail": quote.detail,
    }
    return compact(body)


def read_quote(text: str) -> Quote:
    """The quote that was written."""
    body: dict[str, Any] = json.loads(text)
    columns = zip(body["at_us"], body["mj"], body["ug"], body["micros"], body["currency"], strict=True)
    return Quote(
        quarters=tuple(
            QuarterAmount(_EPOCH + at * _MICROSECOND, mj, ug, None if micros is None else Money(micros, currency))
            for at, mj, ug, micros, currency in columns
        ),
        references=tuple(decode(Reference, reference) for reference in body["references"]),
        basis=body["basis"],
        n=body["n"],
        detail=body["detail"],
    )


def quote_hash(text: str) -> str:
    """The hash by which an entry names the quote that a hold keeps."""
    return sha256(text.encode()).hexdigest()


@lru_cache(maxsize=256)
def _written(references: tuple[Reference, ...]) -> list[Any]:
    return [encode(reference) for reference in references]
