"""Reads the parts of a manifest that may be anything; what is not what it should be raises ``Unresolved``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from joulegate.core.units import NS_PER_SECOND
from joulegate.core.workloads.demand import Unresolved

Manifest = Mapping[str, Any]  # JSON: every key is text

ANNOTATION: Final = "joulegate.io/"
MOST: Final = 100_000  # accelerators or replicas of one object; more is a slip, not a demand
LONGEST_NAME: Final = 253
_LONGEST_S: Final = 2**31 - 1  # as Kubernetes validates it


def mapping(value: object, where: str) -> Manifest:
    """An object."""
    if not isinstance(value, Mapping):
        raise Unresolved(f"{where} is not an object")
    return value


def optional(value: object, where: str) -> Manifest:
    """An object, empty where there is none."""
    return {} if value is None else mapping(value, where)


def items(value: object, where: str) -> Iterator[Manifest]:
    """The objects of a list, none where there is no list."""
    if value is not None and not isinstance(value, list):
        raise Unresolved(f"{where} is not a list")
    return (mapping(item, where) for item in value or ())


def name(value: object, where: str) -> str:
    """A name of Kubernetes."""
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= LONGEST_NAME:
        raise Unresolved(f"{where} is not a name")
    return value


def whole(source: Manifest, key: str, where: str, default: int) -> int:
    """A count from 0, ``default`` where there is none."""
    value = source.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise Unresolved(f"{where}.{key} is not a whole number from 0 to {MOST}")
    return value


def flag(source: Manifest, key: str, where: str) -> bool:
    """True or false, false where there is none."""
    value = source.get(key)
    if value not in (None, True, False):
        raise Unresolved(f"{where}.{key} is neither true nor false")
    return bool(value)


def seconds_ns(source: Manifest, where: str) -> int | None:
    """``activeDeadlineSeconds`` in ns."""
    value = source.get("activeDeadlineSeconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LONGEST_S:
        raise Unresolved(f"{where}.activeDeadlineSeconds is not a whole number of seconds from 1 to {_LONGEST_S}")
    return value * NS_PER_SECOND


def annotations_of(source: Manifest) -> dict[str, str]:
    """The annotations of an object or of a template."""
    return _texts(source, "annotations")


def labels_of(source: Manifest) -> dict[str, str]:
    """The labels of an object or of a template."""
    return _texts(source, "labels")


def namespace(source: Manifest) -> str:
    """The namespace of an object, `default` where it names none."""
    found = optional(source.get("metadata"), "metadata").get("namespace")
    return "default" if found in (None, "") else name(found, "metadata.namespace")


def annotation(found: Mapping[str, str], key: str) -> str | None:
    """One of our own annotations, among those of an object."""
    text = found.get(ANNOTATION + key)
    if text is not None and (not text.isprintable() or not 0 < len(text) <= LONGEST_NAME):
        raise Unresolved(f"{ANNOTATION}{key} is empty, too long or not printable")
    return text


def _texts(source: Manifest, part: str) -> dict[str, str]:
    metadata = optional(source.get("metadata"), "metadata")
    found = optional(metadata.get(part), f"metadata.{part}")
    return {key: value for key, value in found.items() if isinstance(value, str)}
