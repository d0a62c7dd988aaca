"""Reports for tests of formats: one of known figures, and one in which every name is hostile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

from joulegate.core.audit import AuditReport, Decided, PackOf, Query, Tree, audit
from joulegate.core.evidence import Evidence, Readings, event_of
from joulegate.core.footprint import Rates, Reference
from joulegate.core.inferiority import Comparing
from joulegate.core.periods import Period
from joulegate.core.records import Kind, Quality, Run, RunOutcome
from joulegate.core.tallies import Fact
from tests.plugin.core.audited import NO_RATES, NOON, RATES, fact, record, window
from tests.plugin.core.test_evidence import enrolled, reading

KWH_MJ = 3_600_000_000
DAY = Period(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
TREE = Tree("joulegate/test/default", 812, "ab" * 32, 811, ("joulegate/test+0a1b2c3d",))

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' --",
    '=HYPERLINK("http://x")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    '#emph[x] *b* $x$ `y` @ref \\ #eval("1") [',
    "a\x00b\x07c\x1b[31md\x7f",
    "\u202eabc\u2066\u05e9\u05dc\u05d5\u05dd",
    "- a: &b !!python/object\n  c: |\n---\n",
    "]]>&amp;<!DOCTYPE x>\ufffe",
    "\u6f22\u5b57\U0001f4a5",
    "x" * 40_000,
)


def at_kwh(name: str, kwh: str, **more: Any) -> Fact:
    """A run that drew so many kWh in one quarter-hour, at PUE 1.54 and 363 g/kWh."""
    kept = {key: more.pop(key) for key in ("rates",) if key in more}
    one = record(name, [int(Fraction(kwh) * KWH_MJ)], **{k: more.pop(k) for k in ("work", "quality") if k in more})
    return fact(replace(one, **more), kept.get("rates", RATES))


def plain(*facts: Fact, query: Query | None = None) -> AuditReport:
    """A report of facts, with a tree."""
    return replace(audit(query or Query(DAY, None), facts, (), "joulegate 0"), tree=TREE)


def golden() -> AuditReport:
    """1 kWh of training that succeeded and 0.5 kWh that failed, of one model; 2 kWh of inference of another."""
    return plain(
        at_kwh("a", "1", kind=Kind.TRAINING),
        at_kwh("b", "0.5", kind=Kind.TRAINING, outcome=RunOutcome.FAILED),
        at_kwh("c", "2", kind=Kind.INFERENCE, model="other"),
    )


def whole() -> AuditReport:
    """A report in which every part has something in it."""
    merit = [(Quality("accuracy", share, 10_000),) for share in (0.91, 0.905)]
    facts = [
        fact(record("large", [KWH_MJ, 2_000_000_017], work=(window(9_000, 10_000),), quality=merit[0])),
        fact(record("small", [1_200_000_000, None], work=(window(4_000, 10_000),), quality=merit[1])),
        fact(record("bad", [7_000_000]), NO_RATES),
    ]
    assert RATES.location
    evidence = Evidence(
        events=(
            event_of("correction", NOON, {"record_id": "record-large", "reason": "declared_twice"}),
            event_of("exception_approved", NOON, {"exception_id": "e1"}),
        ),
        readings=Readings(
            (
                reading(0, 0.25, (0, 4_000_000_000), 3_500_000_000, 100_000_000),
                reading(0, 0.25, (0, 4_000_000_000), 300_000_000, held=False),
            )
        ),
        devices=(enrolled(), enrolled("GPU-2")),
        intensities=(replace(RATES.location, ug_per_kwh=300_000_000),),
    )
    query = Query(
        DAY,
        None,
        comparing=Comparing(("large", "small"), Fraction("0.02")),
        against=PackOf("ember-countries-2023", "0" * 64),
    )
    made = audit(query, facts, (Decided("deny", "BudgetExhausted", NOON),), "joulegate 0", evidence)
    return replace(made, tree=TREE)


def hostile(name: str) -> AuditReport:
    """Every name that somebody else gives is ``name``."""
    source = Reference(name, name, name, name, name)
    assert RATES.site
    assert RATES.location
    assert RATES.price
    rates = Rates(
        replace(RATES.site, name=name, zone=name, pue_category=name, reference=source),
        replace(RATES.location, zone=name, boundary=name, mix=name, gwp=name, reference=source),
        None,
        replace(RATES.price, gpu_model=name, zone=name, reference=source),
    )
    one = record("x", [KWH_MJ], work=(window(9_000, 10_000),), flags=(name,))
    run = Run(uid=name, pipeline=name, step=name, cluster=name, namespace=name, site=name)
    devices = tuple(replace(device, uuid=name, model=name) for device in one.devices)
    told = replace(
        one,
        record_id=name,
        run=run,
        model=name,
        variant=name,
        devices=devices,
        software=name,
        kind=Kind.TRAINING,
        work=tuple(replace(part, name=name, unit=name) for part in one.work),
        quality=(Quality(name, 0.5, 100),),
    )
    evidence = Evidence(events=(event_of("correction", NOON, {"record_id": name, "reason": name}),))
    query = Query(DAY, name, comparing=Comparing((name,), Fraction("0.1")))
    made = audit(query, [fact(told, rates)], (), name, evidence)
    return replace(made, tree=replace(TREE, origin=name, keys=(name,)))
