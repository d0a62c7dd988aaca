"""Exceptions as people write them: the YAML object of the contract, read strictly and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from joulegate.core.budgets import Limits
from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import API_VERSION, fields_of, limits_object, limits_of, object_name, strings_of, text_of
from joulegate.core.periods import format_instant, parse_instant

KIND: Final = "BudgetException"
_LONGEST: Final = 1_000
_LONGEST_NAME: Final = 253
_MOST_BUDGETS: Final = 100
_SPEC: Final = {"budgets", "amount", "reason", "ticket", "expiresAt", "requestedBy", "approvedBy"}


@dataclass(frozen=True, slots=True)
class ExceptionObject:
    """More room on ``budgets`` for one namespace until ``expires_at``; ``uid`` where a cluster gave one."""

    name: str
    namespace: str
    budgets: tuple[str, ...]
    amount: Limits
    reason: str
    expires_at: datetime
    ticket: str | None = None
    requested_by: str | None = None
    approved_by: str | None = None
    uid: str | None = None

    @property
    def exception_id(self) -> str:
        """The uid; else ``NAMESPACE.NAME``, which no other object has: a namespace's name holds no dot."""
        return self.uid or f"{self.namespace}.{self.name}"


def exception_from_object(source: object) -> ExceptionObject:
    """Read a ``BudgetException`` object; what is unknown or wrong raises :class:`InvalidInputError`."""
    whole = fields_of(
        source, KIND, {"apiVersion", "kind", "metadata", "spec", "status"}, {"apiVersion", "kind", "metadata", "spec"}
    )
    if whole["apiVersion"] != API_VERSION or whole["kind"] != KIND:
        raise InvalidInputError(
            f"must be a {KIND} of {API_VERSION}, not {whole['kind']!r} of {whole['apiVersion']!r}", "kind"
        )
    metadata = whole["metadata"]
    if not isinstance(metadata, Mapping):
        raise InvalidInputError("must be an object", "metadata")
    namespace = object_name(metadata.get("namespace", "default"), "metadata.namespace")
    if "." in namespace:
        raise InvalidInputError("the name of a namespace holds no dot", "metadata.namespace")
    spec = fields_of(whole["spec"], "spec", _SPEC, {"budgets", "amount", "reason", "expiresAt"})
    budgets = strings_of(spec["budgets"], "spec.budgets", object_name)
    if not budgets or len(budgets) > _MOST_BUDGETS:
        raise InvalidInputError(f"must name from one to {_MOST_BUDGETS} budgets", "spec.budgets")
    if len(set(budgets)) != len(budgets):
        raise InvalidInputError("names a budget twice", "spec.budgets")
    return ExceptionObject(
        name=object_name(metadata.get("name"), "metadata.name"),
        namespace=namespace,
        budgets=budgets,
        amount=limits_of(spec["amount"], "spec.amount"),
        reason=_line(spec["reason"], "spec.reason"),
        expires_at=parse_instant(spec["expiresAt"], "spec.expiresAt"),
        ticket=_optional(spec, "ticket"),
        requested_by=_optional(spec, "requestedBy"),
        approved_by=_optional(spec, "approvedBy"),
        uid=_uid(metadata.get("uid")),
    )


def exception_to_object(asked: ExceptionObject) -> dict[str, Any]:
    """Write an exception as the object that :func:`exception_from_object` reads back to the same value."""
    spec: dict[str, Any] = {
        "budgets": list(asked.budgets),
        "amount": limits_object(asked.amount),
        "reason": asked.reason,
        "expiresAt": format_instant(asked.expires_at),
    }
    optional = {"ticket": asked.ticket, "requestedBy": asked.requested_by, "approvedBy": asked.approved_by}
    spec |= {key: value for key, value in optional.items() if value is not None}
    metadata = {"name": asked.name, "namespace": asked.namespace}
    if asked.uid is not None:
        metadata["uid"] = asked.uid
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _optional(spec: Mapping[str, Any], key: str) -> str | None:
    value = spec.get(key)
    return None if value is None else _line(value, f"spec.{key}")


def _line(value: object, field: str) -> str:
    text = text_of(value, field)
    if not text.strip() or len(text) > _LONGEST or not text.isprintable():
        raise InvalidInputError(f"must be one line of 1 to {_LONGEST} characters", field)
    return text


def _uid(value: object) -> str | None:
    if value is None:
        return None
    text = text_of(value, "metadata.uid")
    if not text or len(text) > _LONGEST_NAME or not all(part.isalnum() or part in "-_" for part in text):
        raise InvalidInputError(f"{text[:60]!r} is not a uid", "metadata.uid")
    return text
