"""Budgets as people write them: the YAML object of the contract, read strictly and written back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, TypeVar

from joulegate.core.budgets import (
    Budget,
    CarryOver,
    Enforcement,
    LabelRule,
    Limits,
    OnExhausted,
    Scope,
    SelectorOperator,
    WhenUndecidable,
)
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import (
    CalendarRule,
    CalendarUnit,
    FixedRule,
    Period,
    PeriodRule,
    format_instant,
    parse_duration_ns,
    parse_instant,
    zone_named,
)
from joulegate.core.records import Kind
from joulegate.core.units import MICROS, MJ_PER_KWH, UG_PER_KG, format_whole, parse_whole

API_VERSION: Final = "joulegate.io/v1alpha1"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # DNS subdomain, as for objects in a cluster
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_LONGEST_LIST: Final = 1_000
_NS_PER_DAY: Final = 86_400_000_000_000

_Choice = TypeVar("_Choice", bound=StrEnum)
JsonObject = Mapping[str, Any]


def budget_from_object(source: object) -> Budget:
    """Read a ``Budget`` object; what is unknown or wrong raises :class:`InvalidInputError`."""
    whole = fields_of(
        source,
        "Budget",
        {"apiVersion", "kind", "metadata", "spec", "status"},
        {"apiVersion", "kind", "metadata", "spec"},
    )
    if whole["apiVersion"] != API_VERSION or whole["kind"] != "Budget":
        raise InvalidInputError(
            f"must be a Budget of {API_VERSION}, not {whole['kind']!r} of {whole['apiVersion']!r}",
            "kind",
        )
    metadata = whole["metadata"]
    if not isinstance(metadata, Mapping):
        raise InvalidInputError("must be an object", "metadata")
    name = object_name(metadata.get("name"), "metadata.name")
    spec = fields_of(whole["spec"], "spec", _SPEC_FIELDS, {"period", "limits"})
    parent = object_name(spec["parent"], "spec.parent") if spec.get("parent") is not None else None
    budget = Budget(
        name=name,
        parent=parent,
        period=_period(spec["period"]),
        limits=limits_of(spec["limits"], "spec.limits"),
        scope=_scope(spec["scope"]) if spec.get("scope") is not None else None,
        selectable=_flag(spec, "selectable"),
        default=_flag(spec, "default"),
        enforcement=_choice(spec, "enforcement", Enforcement, Enforcement.DENY),
        when_undecidable=_choice(spec, "whenUndecidable", WhenUndecidable, WhenUndecidable.DENY),
        on_exhausted=_choice(spec, "onExhausted", OnExhausted, OnExhausted.CONTINUE),
        horizon_ns=_horizon(spec.get("horizon", "30d")),
        hold_quantile=_quantile(spec.get("holdQuantile", "0.9")),
        warn_at_percent=_percents(spec.get("warnAtPercent", [50, 80, 95])),
        carry_over=_choice(spec, "carryOver", CarryOver, CarryOver.NONE),
    )
    if budget.default and not budget.selectable:
        raise InvalidInputError(
            "default: true marks one of the selectable budgets; set selectable: true as well",
            "spec.default",
        )
    if budget.selectable and budget.scope is None:
        raise InvalidInputError("a selectable budget needs a scope: it says who may choose it", "spec.scope")
    return budget


_SPEC_FIELDS: Final = {
    "parent", "scope", "selectable", "default", "period", "limits", "enforcement", "carryOver",
    "whenUndecidable", "onExhausted", "horizon", "holdQuantile", "warnAtPercent",
}  # fmt: skip


def budget_to_object(budget: Budget) -> dict[str, Any]:
    """Write a budget as the object that :func:`budget_from_object` reads back to the same value."""
    spec: dict[str, Any] = {
        "period": _period_object(budget.period),
        "limits": limits_object(budget.limits),
        "selectable": budget.selectable,
        "default": budget.default,
        "enforcement": budget.enforcement.value,
        "whenUndecidable": budget.when_undecidable.value,
        "onExhausted": budget.on_exhausted.value,
        "horizon": _horizon_text(budget.horizon_ns),
        "holdQuantile": format_whole(int(budget.hold_quantile * 10**6), 10**6),
        "warnAtPercent": list(budget.warn_at_percent),
        "carryOver": budget.carry_over.value,
    }
    if budget.parent is not None:
        spec["parent"] = budget.parent
    if budget.scope is not None:
        spec["scope"] = _scope_object(budget.scope)
    return {
        "apiVersion": API_VERSION,
        "kind": "Budget",
        "metadata": {"name": budget.name},
        "spec": spec,
    }


def object_name(value: object, field: str) -> str:
    """A name as Kubernetes allows it (DNS subdomain, RFC 1123)."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInputError(
            f"{str(value)[:60]!r} is not a name of lower-case letters, digits, '-' and '.'",
            field,
        )
    return value


def fields_of(source: object, field: str, known: set[str], needed: set[str]) -> JsonObject:
    """An object with only ``known`` fields and all of ``needed``; :class:`InvalidInputError` names the field."""
    if not isinstance(source, Mapping):
        raise InvalidInputError("must be an object", field)
    for key in source:
        if key not in known:
            raise InvalidInputError(f"unknown field; known are {', '.join(sorted(known))}", f"{field}.{str(key)[:60]}")
    for key in sorted(needed):
        if source.get(key) is None:
            raise InvalidInputError("is required", f"{field}.{key}")
    return source


def text_of(value: object, field: str) -> str:
    """A string; raises :class:`InvalidInputError` naming ``field``."""
    if not isinstance(value, str):
        raise InvalidInputError(f"must be a string, not {type(value).__name__}", field)
    return value


def _flag(spec: JsonObject, key: str) -> bool:
    value = spec.get(key, False)
    if not isinstance(value, bool):
        raise InvalidInputError(f"must be true or false, not {str(value)[:60]!r}", f"spec.{key}")
    return value


def _choice(spec: JsonObject, key: str, choices: type[_Choice], default: _Choice) -> _Choice:
    value = spec.get(key, default.value)
    if isinstance(value, str):
        for choice in choices:
            if choice.value == value:
                return choice
    raise InvalidInputError(f"{str(value)[:60]!r} is not one of {', '.join(choices)}", f"spec.{key}")


def strings_of(value: object, field: str, check: Callable[[str, str], str] = lambda text, _: text) -> tuple[str, ...]:
    """A list of strings, each checked by ``check(text, field)``; raises :class:`InvalidInputError`."""
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        raise InvalidInputError(f"must be a list of at most {_LONGEST_LIST} strings", field)
    return tuple(check(text_of(item, f"{field}[{index}]"), f"{field}[{index}]") for index, item in enumerate(value))


def _period(source: object) -> PeriodRule:
    if isinstance(source, Mapping) and "start" in source:
        span = fields_of(source, "spec.period", {"start", "end"}, {"start", "end"})
        start = parse_instant(span["start"], "spec.period.start")
        end = parse_instant(span["end"], "spec.period.end")
        if end <= start:
            raise InvalidInputError("must be after start", "spec.period.end")
        return FixedRule(Period(start, end))
    rule = fields_of(source, "spec.period", {"unit", "timezone", "start", "end"}, {"unit"})
    unit = _choice({"period.unit": rule["unit"]}, "period.unit", CalendarUnit, CalendarUnit.MONTH)
    timezone = text_of(rule.get("timezone", "UTC"), "spec.period.timezone")
    zone_named(timezone, "spec.period.timezone")
    return CalendarRule(unit, timezone)


def _period_object(rule: PeriodRule) -> dict[str, str]:
    if isinstance(rule, FixedRule):
        return {"start": format_instant(rule.span.start), "end": format_instant(rule.span.end)}
    return {"unit": rule.unit.value, "timezone": rule.timezone}


def limits_of(source: object, where: str) -> Limits:
    """Amounts as people write them, ``{energyKwh, carbonKg, cost: {amount, currency}}``; at least one of them."""
    limits = fields_of(source, where, {"energyKwh", "carbonKg", "cost"}, set())
    energy, carbon, cost = (limits.get(key) for key in ("energyKwh", "carbonKg", "cost"))
    if energy is None and carbon is None and cost is None:
        raise InvalidInputError("at least one of energyKwh, carbonKg and cost is required", where)
    micros, currency = _cost(cost, f"{where}.cost") if cost is not None else (None, None)
    return Limits(
        energy_mj=_limit(energy, MJ_PER_KWH, f"{where}.energyKwh") if energy is not None else None,
        carbon_ug=_limit(carbon, UG_PER_KG, f"{where}.carbonKg") if carbon is not None else None,
        cost_micros=micros,
        currency=currency,
    )


def _limit(value: object, units_per_one: int, field: str) -> int:
    if not isinstance(value, str):
        raise InvalidInputError(f'must be a decimal string in quotes, such as "120", not {type(value).__name__}', field)
    return parse_whole(value, units_per_one, field)


def _cost(source: object, where: str) -> tuple[int, str]:
    cost = fields_of(source, where, {"amount", "currency"}, {"amount", "currency"})
    currency = text_of(cost["currency"], f"{where}.currency")
    if not _CURRENCY.fullmatch(currency):
        raise InvalidInputError(
            f"{currency[:60]!r} is not a currency code of ISO 4217, such as EUR",
            f"{where}.currency",
        )
    return _limit(cost["amount"], MICROS, f"{where}.amount"), currency


def limits_object(limits: Limits) -> dict[str, Any]:
    """Write amounts as :func:`limits_of` reads them."""
    written: dict[str, Any] = {}
    if limits.energy_mj is not None:
        written["energyKwh"] = format_whole(limits.energy_mj, MJ_PER_KWH)
    if limits.carbon_ug is not None:
        written["carbonKg"] = format_whole(limits.carbon_ug, UG_PER_KG)
    if limits.cost_micros is not None:
        written["cost"] = {
            "amount": format_whole(limits.cost_micros, MICROS),
            "currency": limits.currency,
        }
    return written


def _scope(source: object) -> Scope:
    scope = fields_of(source, "spec.scope", {"namespaces", "namespaceSelector", "kinds"}, set())
    namespaces, kinds = scope.get("namespaces"), scope.get("kinds")
    return Scope(
        namespaces=strings_of(namespaces, "spec.scope.namespaces", object_name) if namespaces is not None else None,
        namespace_selector=_selector(scope.get("namespaceSelector") or {}),
        kinds=strings_of(kinds, "spec.scope.kinds", _kind) if kinds is not None else None,
    )


def _kind(text: str, field: str) -> str:
    if text not in set(Kind):
        raise InvalidInputError(f"{text[:60]!r} is not one of {', '.join(Kind)}", field)
    return text


def _selector(source: object) -> tuple[LabelRule, ...]:
    where = "spec.scope.namespaceSelector"
    selector = fields_of(source, where, {"matchLabels", "matchExpressions"}, set())
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not isinstance(labels, Mapping) or not isinstance(expressions, list) or len(expressions) > _LONGEST_LIST:
        raise InvalidInputError("matchLabels must be an object and matchExpressions a list", where)
    exact = [
        LabelRule(str(key), SelectorOperator.IN, (text_of(value, f"{where}.matchLabels.{key}"),))
        for key, value in labels.items()
    ]
    return (
        *exact,
        *(_expression(item, f"{where}.matchExpressions[{index}]") for index, item in enumerate(expressions)),
    )


def _expression(source: object, where: str) -> LabelRule:
    rule = fields_of(source, where, {"key", "operator", "values"}, {"key", "operator"})
    try:
        operator = SelectorOperator(rule["operator"])
    except ValueError:
        raise InvalidInputError(f"is not one of {', '.join(SelectorOperator)}", f"{where}.operator") from None
    values = strings_of(rule.get("values") or [], f"{where}.values")
    if bool(values) != (operator in (SelectorOperator.IN, SelectorOperator.NOT_IN)):
        raise InvalidInputError("values go with In and NotIn, and only with them", f"{where}.values")
    return LabelRule(text_of(rule["key"], f"{where}.key"), operator, values)


def _scope_object(scope: Scope) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if scope.namespaces is not None:
        written["namespaces"] = list(scope.namespaces)
    if scope.namespace_selector:
        written["namespaceSelector"] = {
            "matchExpressions": [
                {
                    "key": rule.key,
                    "operator": rule.operator.value,
                    **({"values": list(rule.values)} if rule.values else {}),
                }
                for rule in scope.namespace_selector
            ]
        }
    if scope.kinds is not None:
        written["kinds"] = list(scope.kinds)
    return written


def _horizon(value: object) -> int:
    horizon = parse_duration_ns(text_of(value, "spec.horizon"), "spec.horizon")
    if horizon == 0:
        raise InvalidInputError("must be more than nothing", "spec.horizon")
    return horizon


def _horizon_text(horizon_ns: int) -> str:
    for unit, ns in (
        ("d", _NS_PER_DAY),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ):
        if horizon_ns % ns == 0:
            return f"{horizon_ns // ns}{unit}"
    return f"{horizon_ns}ns"


def _quantile(value: object) -> Fraction:
    millionths = parse_whole(text_of(value, "spec.holdQuantile"), 10**6, "spec.holdQuantile")
    if not 500_000 <= millionths <= 990_000:  # noqa: PLR2004 - a hold below the median is no hold, beyond 0.99 no history says
        raise InvalidInputError("must lie between 0.5 and 0.99", "spec.holdQuantile")
    return Fraction(millionths, 10**6)


def _percents(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        raise InvalidInputError("must be a list of whole percentages", "spec.warnAtPercent")
    for index, item in enumerate(value):
        if isinstance(item, bool) or not isinstance(item, int) or not 1 <= item <= 100:  # noqa: PLR2004 - percent
            raise InvalidInputError(
                f"{str(item)[:60]!r} is not a whole percentage from 1 to 100",
                f"spec.warnAtPercent[{index}]",
            )
    return tuple(sorted(set(value)))
