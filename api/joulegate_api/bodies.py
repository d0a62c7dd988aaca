"""The one reader of bodies, before anything looks at what they say.

In this order: content type and encoding, size (of what arrives, not of what was
announced), depth, then JSON without duplicate keys, numbers that are not finite,
whole numbers beyond 2**53 - 1, and text that no database keeps. Only then a body
is validated against its class of :mod:`joulegate.wire`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar

import anyio
from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from joulegate.schema import JSON_WHOLE_MAX
from joulegate_api.errors import Fault, RefusedError

LARGEST: Final = 1 << 20
LARGEST_BATCH: Final = 8 << 20
"""Windows, inventories and AdmissionReviews."""

DEEPEST: Final = 32
SLOWEST_S: Final = 30
"""How long a client may take to send a body."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # linear: an open string ends with the text
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_LONGEST_WHOLE: Final = 20
_SURROGATE_OR_NUL: Final = re.compile("[\ud800-\udfff\x00]")

SCHEMAS: Final = "#/components/schemas/"

T = TypeVar("T")


async def receive(request: Request, largest: int) -> bytes:
    """The bytes of a JSON body; raises :class:`RefusedError` before more than ``largest`` of them are kept."""
    _check_headers(request)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:_LONGEST_WHOLE]) > largest:
        _refuse(413, "too_large", f"a body has at most {largest} bytes")
    parts = bytearray()
    with anyio.move_on_after(SLOWEST_S) as patience:
        async for part in request.stream():
            parts += part
            if len(parts) > largest:
                _refuse(413, "too_large", f"a body has at most {largest} bytes")
    if patience.cancelled_caught:
        _refuse(408, "timeout", f"the body did not arrive within {SLOWEST_S} seconds")
    return bytes(parts)


async def _receive_one(request: Request) -> bytes:
    return await receive(request, LARGEST)


async def _receive_batch(request: Request) -> bytes:
    return await receive(request, LARGEST_BATCH)


Raw = Annotated[bytes, Depends(_receive_one)]
"""The body of a request, received whole; its route reads it."""

RawBatch = Annotated[bytes, Depends(_receive_batch)]


class Body(Generic[T]):
    """Reads bodies of one class."""

    def __init__(self, kind: type[T]) -> None:
        """Prepare the rules once."""
        self.adapter = TypeAdapter(kind)
        self.reference = {"$ref": f"{SCHEMAS}{kind.__name__}"}

    def read(self, raw: bytes) -> T:
        """The body; raises :class:`RefusedError` naming every field that breaks a rule."""
        parse(raw)
        try:
            return self.adapter.validate_json(raw)
        except ValidationError as error:
            raise _invalid(error) from error

    def read_parameters(self, parameters: Sequence[tuple[str, str]]) -> T:
        """Query parameters by the same rules: each stands once, and none is unknown."""
        return self.read(json.dumps(_object(parameters)).encode())


def parse(raw: bytes) -> Any:  # noqa: ANN401 -- JSON
    """The JSON value of a body; raises :class:`RefusedError`."""
    if depth_of(raw) > DEEPEST:
        _refuse(400, "too_deep", f"a body is nested at most {DEEPEST} levels deep")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(400, "invalid_text", "the body is not UTF-8")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_whole,
        )
    except (json.JSONDecodeError, RecursionError) as error:
        place = f": {error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RefusedError(400, "malformed_json", f"the body is not JSON{place}") from error
    if b"\\u" in raw and has_broken_text(value):
        _refuse(400, "invalid_text", "a string holds a lone surrogate or NUL")
    return value


def depth_of(raw: bytes) -> int:
    """How deep arrays and objects are nested; counted without recursion, and not much beyond what is allowed."""
    depth = deepest = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > DEEPEST:
            break
    return deepest


def has_broken_text(value: object) -> bool:
    """Whether a string or a key holds what UTF-8 or a database cannot keep."""
    if isinstance(value, str):
        return _SURROGATE_OR_NUL.search(value) is not None
    if isinstance(value, dict):
        return any(has_broken_text(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(has_broken_text(item) for item in value)


def _check_headers(request: Request) -> None:
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        _refuse(415, "unsupported_media_type", "the body must be application/json")
    charset = next((part[8:].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if charset != "utf-8":
        _refuse(415, "unsupported_media_type", "the body must be UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        _refuse(415, "unsupported_encoding", "the body must not be compressed")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        rest = Counter(name for name, _ in pairs)
        twice = next(name for name, count in rest.items() if count > 1)
        _refuse(400, "duplicate_key", f"the key {twice[:60]!r} stands twice in one object")
    return found


def _constant(text: str) -> NoReturn:
    _refuse(400, "not_finite", f"{text} is not a number of JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(400, "not_finite", f"{text[:_LONGEST_WHOLE]} is beyond every finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > _LONGEST_WHOLE or abs(number := int(text)) > JSON_WHOLE_MAX:
        _refuse(400, "out_of_range", f"a whole number may be at most {JSON_WHOLE_MAX}; larger ones go as strings")
    return number


def _invalid(error: ValidationError) -> RefusedError:
    faults = [
        Fault(".".join(str(part) for part in fault["loc"]), _said(fault))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = f"{faults[0].field}: {faults[0].message}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return RefusedError(422, "invalid_input", first + more, faults)


def _said(fault: ErrorDetails) -> str:
    if fault["type"] == "unexpected_keyword_argument":
        return "unknown field"
    return fault["msg"].removeprefix("Value error, ")


def _refuse(status: int, code: str, detail: str) -> NoReturn:
    raise RefusedError(status, code, detail)
