"""Joulegate's own kinds at a real API server: what is right gets its defaults, what is wrong is refused at apply."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import API_VERSION, budget_from_object
from tests.budget_objects import EXAMPLE, REFUSED, changed
from tests.cluster.api import Api, Object, RefusedError, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

DRY = {"dryRun": "All"}
# What a schema cannot say; the operator makes conditions of these.
CONDITIONS: list[tuple[str, object]] = [("spec.horizon", "9999d")]
ABOUT_THE_SPEC = [(path, value) for path, value, _ in REFUSED if path.startswith(("spec", "surprise"))]

REFERENCE = {"dataset": "d", "version": "1", "publisher": "p", "licence": "CC0", "source": "https://example.invalid"}
DATES = {"validFrom": "2025-01-01T00:00:00Z", "validTo": "2026-01-01T00:00:00Z"}
FACTOR = {
    **DATES,
    "zone": "DE",
    "gPerKwh": "275.81",
    "basis": "location",
    "boundary": "direct",
    "mix": "production",
    "signal": "average",
    "gwp": "AR5",
}
PRICE = {**DATES, "rule": "electricity", "currency": "EUR", "amount": "0.1902"}
SITE = {**DATES, "zone": "DE", "pue": "1.54", "pueCategory": "survey"}
EXCEPTION_SPEC = {
    "budgets": ["vision"],
    "amount": {"energyKwh": "10"},
    "reason": "a deadline",
    "expiresAt": "2027-01-01T00:00:00Z",
    "requestedBy": "jane",
}


def rows_object(kind: str, *rows: Mapping[str, Any]) -> Object:
    spec = {"reference": REFERENCE, "rows": list(rows)}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "one"}, "spec": spec}


@contextlib.contextmanager
def applied(api: Api, source: Object) -> Iterator[Object]:
    """The object as it stands in the cluster, while it does."""
    yield api.apply(source)
    api.delete(source)
    eventually(lambda: not api.exists(source))


def test_the_example_of_the_contract_is_applied_with_its_defaults(api: Api) -> None:
    with applied(api, EXAMPLE) as made:
        given = copy.deepcopy(EXAMPLE["spec"])
        assert made["spec"] == {
            **given,
            "selectable": False,
            "default": False,
            "enforcement": "Deny",
            "whenUndecidable": "Deny",
            "onExhausted": "Continue",
            "horizon": "30d",
            "holdQuantile": "0.9",
            "warnAtPercent": [50, 80, 95],
            "carryOver": "None",
        }
        # What the server made of it, the core reads as what was written.
        assert budget_from_object(made) == budget_from_object(EXAMPLE)


@pytest.mark.parametrize(("path", "value"), ABOUT_THE_SPEC)
def test_what_the_core_refuses_is_refused_at_apply(api: Api, path: str, value: object) -> None:
    source = changed(path, value)
    with pytest.raises(InvalidInputError):
        budget_from_object(source)
    if (path, value) in CONDITIONS:
        assert api.apply(source, **DRY)["metadata"]["name"] == "vision"
        return
    with pytest.raises(RefusedError) as refused:
        api.apply(source, **DRY)
    # 500: what a server-side apply cannot type, such as a field that no schema knows.
    assert refused.value.status in {400, 422, 500}
    assert path.rpartition(".")[2] in str(refused.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"period": {"unit": "Day", "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}},
        {"period": {"start": "2026-01-01T00:00:00Z"}},
        {"period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z", "timezone": "UTC"}},
        {"period": {"start": "2026-01-01T00:00:00+01:00", "end": "2026-02-01T00:00:00Z"}},
        {"period": {"unit": "Day", "timezone": "+01:00"}},
        {"selectable": True, "scope": None},
        {"limits": {"energyKwh": "0.000000001"}},
        {"limits": {"energyKwh": "1e3"}},
        {"limits": {"cost": {"amount": "0.0000001", "currency": "EUR"}}},
        {"horizon": "0s"},
        {"holdQuantile": "0.4"},
        {"holdQuantile": "0.995"},
    ],
    ids=str,
)
def test_bad_combinations_are_refused_at_apply(api: Api, spec: Mapping[str, Any]) -> None:
    source = copy.deepcopy(EXAMPLE)
    source["spec"].update(spec)
    with pytest.raises(RefusedError):
        api.apply(source, **DRY)


@pytest.mark.parametrize(
    "limits",
    [
        {"energyKwh": "0"},
        {"energyKwh": "0.0000000025"},
        {"energyKwh": "277777777"},
        {"carbonKg": "0.000000001"},
        {"cost": {"amount": "0.000001", "currency": "USD"}},
    ],
    ids=str,
)
def test_the_smallest_and_largest_limits_are_taken_by_server_and_core(api: Api, limits: Mapping[str, Any]) -> None:
    source = changed("spec.limits", limits)
    assert budget_from_object(api.apply(source, **DRY)).limits == budget_from_object(source).limits


def test_a_budget_is_not_its_own_parent(api: Api) -> None:
    with pytest.raises(RefusedError, match="not its own parent"):
        api.apply(changed("spec.parent", "vision"), **DRY)


def test_status_is_written_apart_from_the_spec(api: Api) -> None:
    with applied(api, EXAMPLE) as made:
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Accepted",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": made["metadata"]["generation"],
        }
        after = api.patch(made, {"status": {"conditions": [condition]}, "spec": {"horizon": "1d"}}, "status")
        assert (after["spec"], after["status"]["conditions"]) == (made["spec"], [condition])
        assert after["metadata"]["generation"] == made["metadata"]["generation"]
        rows = api.request("GET", api.path_of(made), content_type="application/json")
        assert "balances" not in rows["status"]
        with pytest.raises(RefusedError, match="reason"):
            api.patch(made, {"status": {"conditions": [{**condition, "reason": ""}]}}, "status")


@pytest.mark.parametrize(
    "source",
    [
        rows_object("GridIntensity", FACTOR),
        rows_object("GridIntensity", {**FACTOR, "dataUntil": "2025-01-01T00:00:00Z"}),
        rows_object("PriceBook", PRICE),
        rows_object(
            "PriceBook", {**PRICE, "ownership": "colo", "fromHour": 22, "toHour": 6, "timezone": "Europe/Berlin"}
        ),
        rows_object("Site", SITE),
        rows_object(
            "Site", {**SITE, "pueCategory": "2", "ownership": "owned", "wueLPerKwh": "1.8", "wueCategory": "1"}
        ),
    ],
    ids=lambda source: str(source["kind"]),
)
def test_dated_and_sourced_rows_are_applied(api: Api, source: Object) -> None:
    with applied(api, source) as made:
        assert made["spec"] == source["spec"]


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (rows_object("GridIntensity"), "rows"),
        (rows_object("GridIntensity", {**FACTOR, "gPerKwh": "-1"}), "gPerKwh"),
        (rows_object("GridIntensity", {**FACTOR, "gPerKwh": "10000.1"}), "too large"),
        (rows_object("GridIntensity", {**FACTOR, "basis": "offset"}), "basis"),
        (rows_object("GridIntensity", {**FACTOR, "validTo": DATES["validFrom"]}), "must be after validFrom"),
        (rows_object("PriceBook", PRICE, {**PRICE, "rule": "gpu_hours"}), "one rule a price book"),
        (rows_object("PriceBook", {**PRICE, "currency": "euro"}), "currency"),
        (rows_object("PriceBook", {**PRICE, "fromHour": 22}), "go together"),
        (rows_object("PriceBook", {**PRICE, "timezone": "UTC"}), "for hours"),
        (rows_object("PriceBook", {**PRICE, "ownership": "mine"}), "ownership"),
        (rows_object("Site", {**SITE, "pue": "0.9"}), "between 1 and 10"),
        (rows_object("Site", {**SITE, "wueLPerKwh": "-1"}), "wueLPerKwh"),
        (rows_object("Site", {**SITE, "surprise": 1}), "surprise"),
    ],
)
def test_rows_that_are_wrong_are_refused(api: Api, source: Object, named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        api.apply(source, **DRY)


def test_rows_without_a_source_are_refused(api: Api) -> None:
    source = rows_object("Site", SITE)
    for missing in REFERENCE:
        spec = {**source["spec"], "reference": {key: value for key, value in REFERENCE.items() if key != missing}}
        with pytest.raises(RefusedError, match=missing):
            api.apply({**source, "spec": spec}, **DRY)


def exception_object(namespace: str, **changes: object) -> Object:
    metadata = {"name": "more", "namespace": namespace}
    spec = {**EXCEPTION_SPEC, **changes}
    return {"apiVersion": API_VERSION, "kind": "BudgetException", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"budgets": []}, "budgets"),
        ({"budgets": ["a", "a"]}, "duplicate"),
        ({"amount": {}}, "at least one of"),
        ({"reason": ""}, "reason"),
        ({"expiresAt": "tomorrow"}, "expiresAt"),
        ({"requestedBy": None}, "requestedBy"),
        ({"approvedBy": "jane"}, "does not approve"),
    ],
    ids=str,
)
def test_exceptions_that_are_wrong_are_refused(
    api: Api, namespace: str, changes: Mapping[str, Any], named: str
) -> None:
    with pytest.raises(RefusedError, match=named):
        api.apply(exception_object(namespace, **changes), **DRY)


def test_an_approved_exception_does_not_change_any_more(api: Api, namespace: str) -> None:
    made = api.create(exception_object(namespace))
    api.patch(made, {"spec": {"amount": {"energyKwh": "11"}}})
    api.patch(made, {"spec": {"approvedBy": "joe"}})
    for change in ({"amount": {"energyKwh": "12"}}, {"approvedBy": "kim"}, {"approvedBy": None}):
        with pytest.raises(RefusedError, match="does not change any more"):
            api.patch(made, {"spec": change})
