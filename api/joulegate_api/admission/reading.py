"""Reads an AdmissionReview that may be anything.

Unlike our own bodies a review is never refused for what it says: whoever sent it
waits for an answer to its uid. What is wrong with it is a *fault*, and a review
with a fault is undecidable. Only one without a readable uid has no answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from joulegate_api.bodies import DEEPEST, has_broken_text
from joulegate_api.errors import RefusedError

DEEPEST_OBJECT: Final = 64
_ABOVE_OBJECT: Final = 2  # the review and its request

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LONGEST_UID: Final = 256
_LONGEST_WHOLE: Final = 20
_OBJECTS: Final = ("object", "oldObject")


@dataclass(frozen=True, slots=True)
class Review:
    """One request of the API server. ``fault`` says why it cannot be believed, None where it can."""

    uid: str
    operation: str = "CREATE"
    subresource: str = ""
    namespace: str | None = None
    resource: str = ""
    name: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    dry_run: bool = False
    new: Mapping[str, Any] | None = None
    old: Mapping[str, Any] | None = None
    fault: str | None = None


def read_review(raw: bytes) -> Review:
    """The review of a body; raises :class:`RefusedError` where it has no uid that could be answered."""
    faults: list[str] = []
    value = _parse(raw, faults)
    request = value.get("request") if isinstance(value, dict) else None
    uid = request.get("uid") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(uid, str) or not _is_echoable(uid):
        _refuse("no_uid", "the body is no AdmissionReview with a request.uid that can be answered")
    if value.get("kind") != "AdmissionReview" or value.get("apiVersion") != "admission.k8s.io/v1":
        faults.append("it is not an AdmissionReview of admission.k8s.io/v1")
    _check_depth(value, request, faults)
    if has_broken_text(value):
        faults.append("a string holds a lone surrogate or NUL")
    user = _mapping(request, "userInfo", faults)
    resource = _mapping(request, "resource", faults)
    return Review(
        uid=uid,
        operation=_text(request, "operation", faults) or "CREATE",
        subresource=_text(request, "subResource", faults),
        namespace=_text(request, "namespace", faults) or None,
        resource=".".join(
            part for part in (_text(resource, "resource", faults), _text(resource, "group", faults)) if part
        ),
        name=_text(request, "name", faults),
        user=_text(user, "username", faults),
        groups=_texts(user, "groups", faults),
        dry_run=_flag(request, "dryRun", faults),
        new=_object(request, "object", faults),
        old=_object(request, "oldObject", faults),
        fault=faults[0] if faults else None,
    )


def metadata_of(source: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The metadata of an object, empty where there are none."""
    metadata = (source or {}).get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _parse(raw: bytes, faults: list[str]) -> Any:  # noqa: ANN401 -- JSON
    deepest = DEEPEST_OBJECT + _ABOVE_OBJECT
    shallow = _pruned(raw, deepest)
    if shallow is not raw:
        faults.append("it is nested too deep")
    text = shallow.decode("utf-8", "replace")
    if "\ufffd" in text and b"\xef\xbf\xbd" not in shallow:
        faults.append("it is not UTF-8")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        whole = dict(found)
        if len(whole) != len(found):
            faults.append("a key stands twice in one object")
        return whole

    def constant(name: str) -> None:
        faults.append(f"{name} is not a number of JSON")

    def number(digits: str) -> float:
        if not math.isfinite(value := float(digits)):
            faults.append("a number is beyond every finite number")
        return value

    def whole(digits: str) -> int:
        if len(digits) > _LONGEST_WHOLE:
            faults.append("a whole number is out of range")
            return 0
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_float=number, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "malformed_json", "the body is not JSON") from error


def _pruned(raw: bytes, deepest: int) -> bytes:
    """``raw`` with null for whatever is nested deeper than ``deepest``; ``raw`` itself where nothing is."""
    parts: list[bytes] = []
    depth = begin = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            depth += 1
            if depth == deepest + 1:
                parts += (raw[begin : token.start()], b"null")
        elif first in b"]}":
            depth -= 1
            if depth == deepest:
                begin = token.end()
    if not parts:
        return raw
    return b"".join([*parts, raw[begin:] if depth <= deepest else b""])


def _check_depth(value: Mapping[str, Any], request: Mapping[str, Any], faults: list[str]) -> None:
    outside = {**value, "request": {name: part for name, part in request.items() if name not in _OBJECTS}}
    inside = max(_depth(request.get(name)) for name in _OBJECTS)
    if _depth(outside) > DEEPEST or inside > DEEPEST_OBJECT:
        faults.append("it is nested too deep")


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(part) for part in value.values()), default=0)
    return 1 + max((_depth(part) for part in value), default=0) if isinstance(value, list) else 0


def _is_echoable(uid: str) -> bool:
    return 0 < len(uid) <= _LONGEST_UID and uid.isprintable()


def _text(source: Mapping[str, Any], name: str, faults: list[str]) -> str:
    value = source.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    faults.append(f"request {name} is not text")
    return ""


def _texts(source: Mapping[str, Any], name: str, faults: list[str]) -> tuple[str, ...]:
    value = source.get(name)
    if value is None or (isinstance(value, list) and all(isinstance(part, str) for part in value)):
        return tuple(value or ())
    faults.append(f"request {name} is no list of texts")
    return ()


def _flag(source: Mapping[str, Any], name: str, faults: list[str]) -> bool:
    value = source.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    faults.append(f"request {name} is neither true nor false")
    return False


def _mapping(source: Mapping[str, Any], name: str, faults: list[str]) -> Mapping[str, Any]:
    return _object(source, name, faults) or {}


def _object(source: Mapping[str, Any], name: str, faults: list[str]) -> Mapping[str, Any] | None:
    value = source.get(name)
    if value is None or isinstance(value, dict):
        return value
    faults.append(f"request {name} is not an object")
    return None


def _refuse(code: str, detail: str) -> NoReturn:
    raise RefusedError(400, code, detail)
