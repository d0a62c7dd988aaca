"""A report as tables, for the formats that people read: the workbook, the PDF and the page show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Final

from joulegate.core import display
from joulegate.core.audit import AuditReport
from joulegate.core.comparison import Span
from joulegate.core.evidence import Event
from joulegate.core.inferiority import Inferiority
from joulegate.core.periods import format_instant
from joulegate.core.tallies import RunRow, Tier, Total
from joulegate_api.reports import carbon, metered
from joulegate_api.reports.metered import money

Value = str | int | datetime | None

STATEMENT: Final = (
    "This report supplies data for the reports that it names formats of. It does not say that anything complies with a"
    " law or a standard. Figures of different boundaries are never added, location-based and market-based carbon are"
    " two columns, no offsets are counted, and what was not measured is not zero."
)


class Kind(StrEnum):
    """What a column holds; quantities are whole base units."""

    TEXT = "text"
    COUNT = "count"
    ENERGY = "mJ"
    CARBON = "ug"
    TIME = "ns"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; what None means in it is for people (``not measured``, ``not priced``)."""

    name: str
    kind: Kind = Kind.TEXT
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its heading; ``empty`` is what a table without rows says."""

    name: str
    title: str
    lead: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    empty: str = "None."


_ENERGY: Final = Column("energy", Kind.ENERGY, display.NOT_MEASURED)
_LOCATION: Final = Column("carbon, location-based", Kind.CARBON, display.NOT_PRICED)
_MARKET: Final = Column("carbon, market-based", Kind.CARBON, "no contract")
_AMOUNTS: Final = (_ENERGY, _LOCATION, _MARKET, Column("cost"))
_TIMES: Final = tuple(
    Column(name, Kind.TIME, "not enrolled") for name in ("expected", "measured", "replayed", "estimated", "missing")
)


def sections(report: AuditReport) -> tuple[Section, ...]:
    """Every table of a report, in the order in which it is read."""
    makers: tuple[Callable[[AuditReport], Iterable[Section]], ...] = (
        _what,
        _charged,
        _totals,
        _known,
        _balances,
        _runs,
        _devices,
        _rates,
        _decisions,
        _events,
        _comparison,
        _under_pack,
        _carbon,
        _checks,
    )
    return tuple(section for make in makers for section in make(report))


def uncertainty(report: AuditReport) -> str:
    """The interval of the energy at the accelerators, or that there is none."""
    known = report.interval
    if known is None:
        return "no interval is known: nothing was measured, or a part was measured without one"
    return (
        f"{display.energy_between(known.lower_mj, known.upper_mj)} ({known.lower_mj} to {known.upper_mj} mJ)"
        f" at {known.confidence}, energy at the accelerators"
    )


def coverage(report: AuditReport) -> str:
    """How much of the devices' time was measured."""
    return f"{display.percent(Fraction(report.coverage_ppm, 1_000_000), 4)} of the devices' time"


def _what(report: AuditReport) -> Iterable[Section]:
    query, tree = report.query, report.tree
    boundaries = ", ".join(total.boundary.value for total in report.totals)
    rows: list[tuple[Value, ...]] = [
        ("scope", query.of),
        ("period", f"{format_instant(query.period.start)} to {format_instant(query.period.end)}"),
        ("as of", format_instant(report.as_of)),
        ("made by", report.software),
        ("boundary", boundaries or "nothing ran"),
        ("method", ", ".join(report.methods) or "nothing ran"),
        ("coverage", coverage(report)),
        ("uncertainty", uncertainty(report)),
        ("records", str(len(report.runs))),
        ("requests kept out", str(report.refusals)),
        ("hosts (boundary node, never added)", display.energy(report.host_energy_mj)),
        ("every total recomputes", "yes, to the last unit" if report.recomputed else "NO"),
        ("digest (SHA-256)", report.digest),
        ("log", tree.origin if tree else "not signed here"),
        ("tree size", str(tree.size) if tree else "not signed here"),
        ("tree root", tree.root if tree else "not signed here"),
        ("entry of this report", str(tree.report_index) if tree else "not signed here"),
        ("signed by", ", ".join(tree.keys) if tree else "not signed here"),
    ]
    yield Section("about", "What this is", STATEMENT, (Column("what"), Column("value")), tuple(rows))


def _amounts(total: Total) -> tuple[Value, ...]:
    return total.energy_mj, total.carbon_location_ug, total.carbon_market_ug, money(total.costs)


def _charged(report: AuditReport) -> Iterable[Section]:
    return (_of(table) for table in metered.charged(report))


def _totals(report: AuditReport) -> Iterable[Section]:
    unknown = (Column("without energy", Kind.COUNT), Column("without carbon", Kind.COUNT))
    columns = (Column("boundary"), *_AMOUNTS, Column("device time", Kind.TIME), Column("not measured", Kind.TIME))
    rows = tuple(
        (
            each.boundary.value,
            *_amounts(each),
            each.gpu_ns,
            each.missing_ns,
            each.energy_unknown,
            each.carbon_location_unknown,
        )
        for each in report.totals
    )
    lead = "Sums of what records of runs tell; beside them the quarter-hours of a device of which it is not known."
    yield Section("totals", "Totals", lead, (*columns, *unknown), rows, "Nothing ran.")


def _known(report: AuditReport) -> Iterable[Section]:
    whole_mj = sum(share.energy_mj for share in report.shares)
    rows = tuple(
        (
            share.tier.value,
            None if share.tier is Tier.NOT_MEASURED else share.energy_mj,
            display.percent(Fraction(share.energy_mj, whole_mj), 4) if whole_mj else "-",
            share.gpu_ns,
        )
        for share in report.shares
    )
    columns = (Column("tier"), _ENERGY, Column("share of the energy"), Column("device time", Kind.TIME))
    yield Section("shares", "Measured and estimated", "How the energy at the accelerators is known.", columns, rows)
    lead = "GPU-hours that somebody expected, and how they are known; rows of different bases are never added."
    hours = tuple(
        (row.basis, row.expected_ns, row.measured_ns, row.replayed_ns, row.estimated_ns, row.missing_ns)
        for row in report.hours
    )
    yield Section("hours", "GPU-hours", lead, (Column("expected by"), *_TIMES), hours)


def _balances(report: AuditReport) -> Iterable[Section]:
    parts = ("counter", "pods, active", "pods, idle", "no pod held it", "unattributed")
    columns = (Column("GPU"), Column("model"), *(Column(name, Kind.ENERGY) for name in parts), *_TIMES)
    rows = tuple(
        (
            row.uuid,
            row.model or "not enrolled",
            row.counter_mj,
            row.active_mj,
            row.idle_mj,
            row.unheld_mj,
            row.unattributed_mj,
            row.expected_ns,
            row.measured_ns,
            row.replayed_ns,
            row.estimated_ns,
            row.missing_ns,
        )
        for row in report.balances
    )
    lead = "What each GPU's counter moved by in the windows of its node meter, and where that went, to the millijoule."
    empty = (
        "No node meter sent windows of this period."
        if report.query.is_whole
        else "Whole devices are balanced in a report of the organisation only."
    )
    yield Section("balance", "Energy balance of each GPU", lead, columns, rows, empty)


def _runs(report: AuditReport) -> Iterable[Section]:
    names = ("run", "namespace", "model", "kind", "outcome")
    columns = (
        *(Column(name) for name in names),
        Column("began", Kind.INSTANT),
        *_AMOUNTS,
        Column("interval"),
        Column("boundary"),
        Column("method"),
        Column("coverage"),
        Column("reported by"),
        Column("record"),
    )
    rows = tuple(_run(run, total) for run in report.runs for total in run.totals)
    yield Section("runs", "Runs", "Each figure with its boundary, method, coverage and interval.", columns, rows)


def _run(run: RunRow, total: Total) -> tuple[Value, ...]:
    known = run.interval if total.boundary.value == "accelerator" else None
    return (
        run.step or run.pipeline or run.run_uid,
        run.namespace,
        run.model or "not told",
        run.kind,
        run.outcome,
        run.started_at,
        *_amounts(total),
        display.energy_between(known.lower_mj, known.upper_mj) if known else "not known",
        total.boundary.value,
        ", ".join(run.methods),
        display.percent(Fraction(run.coverage_ppm, 1_000_000), 4),
        "itself" if run.self_reported else "node meter",
        run.record_id,
    )


def _devices(report: AuditReport) -> Iterable[Section]:
    columns = (Column("GPU"), Column("model"), Column("boundary"), *_AMOUNTS, Column("device time", Kind.TIME))
    rows = tuple(
        (device.uuid, device.model, total.boundary.value, *_amounts(total), total.gpu_ns)
        for device in report.devices
        for total in device.totals
    )
    yield Section("devices", "Devices", "Accelerators of the runs above.", columns, rows, "No device was used.")


def _rates(report: AuditReport) -> Iterable[Section]:
    names = ("kind", "of", "value", "from", "to")
    source = ("dataset", "version", "publisher", "licence", "source")
    columns = (*(Column(name) for name in names), Column("priced", Kind.ENERGY), *(Column(name) for name in source))
    rows = tuple(
        (
            row.kind,
            row.what,
            row.quantity,
            format_instant(row.valid_from),
            format_instant(row.valid_to),
            row.energy_mj,
            *(getattr(row.reference, name) for name in source),
        )
        for row in report.rates
    )
    lead = "Every row that priced something. Carbon is energy x PUE x intensity, rounded once for each quarter-hour."
    yield Section("rates", "Factors, prices and sites", lead, columns, rows, "Nothing was priced.")
    without = tuple(
        (row.record_id, row.device_uuid, row.quarter, row.energy_mj, ", ".join(row.lacks)) for row in report.unpriced
    )
    quarter = Column("quarter-hour", Kind.INSTANT)
    lacking = (Column("record"), Column("GPU"), quarter, _ENERGY, Column("lacks"))
    lead = "No row was in force for these; they are in no sum of carbon or cost, and not counted as zero."
    yield Section("unpriced", "Not fully priced", lead, lacking, without)


def _decisions(report: AuditReport) -> Iterable[Section]:
    rows = tuple((row.outcome, row.reason, row.count) for row in report.decisions)
    columns = (Column("outcome"), Column("reason"), Column("requests", Kind.COUNT))
    empty = "No request was decided." if report.query.scope is None else "Decisions are counted by namespace only."
    yield Section("decisions", "Decisions", "What became of requests in the period.", columns, rows, empty)


def _events(report: AuditReport) -> Iterable[Section]:
    columns = (Column("at", Kind.INSTANT), Column("entry"), Column("about"), Column("reason"))

    def rows(own: Iterable[Event]) -> tuple[tuple[Value, ...], ...]:
        return tuple((each.at, each.kind.replace("_", " "), each.about, each.reason) for each in own)

    allowed = [each for each in report.events if each.kind.startswith("exception_")]
    lead = "More than the limit, as it was asked for and granted; a free text is a commitment (text:...)."
    yield Section("exceptions", "Exceptions", lead, columns, rows(allowed))
    lead = "What was set right, estimated, priced again, kept apart or closed; nothing was edited."
    others = rows(each for each in report.events if each not in allowed)
    yield Section("corrections", "Corrections and estimates", lead, columns, others)


def _comparison(report: AuditReport) -> Iterable[Section]:
    if report.comparison is None:
        return
    found = report.comparison.found
    first = found.variants[0]
    tests = {test.name: test for test in report.comparison.tests}
    rows: list[tuple[Value, ...]] = []
    for variant, difference in zip(found.variants, found.differences, strict=True):
        test = tests.get(variant.name)
        energy = variant.energy_span
        rows.append(
            (
                variant.name,
                f"{variant.quality.value:g}{_between(variant.quality_span)}",
                display.energy(variant.energy_mj)
                + (f" ({display.energy_between(energy.lower, energy.upper)})" if energy else ""),
                difference.words,
                "-"
                if test is None or test.finding is Inferiority.BASELINE
                else f"{test.finding}: loss {float(test.loss):.4g}"
                + (f", at most {float(test.most):.4g}" if test.most is not None else "")
                + f", margin {float(test.margin):g}",
                variant.record_id,
            )
        )
    names = ("variant", f"{first.quality.name} (95 %)", f"energy per {first.per} {first.unit} (95 %)")
    columns = tuple(Column(name) for name in (*names, "against the baseline", "non-inferiority", "record"))
    lead = " ".join(
        (
            "The first is the baseline. Non-inferior is what is worse by less than the margin that was set, with the",
            "95 % interval of the difference of two independent shares (Newcombe 1998, method 10).",
            *(f"{warning}." for warning in found.warnings),
        )
    )
    yield Section("comparison", "Variants", lead, columns, tuple(rows))


def _between(span: Span | None) -> str:
    return f" ({float(span.lower):.4g} to {float(span.upper):.4g})" if span else ""


def _under_pack(report: AuditReport) -> Iterable[Section]:
    if report.query.against is None:
        return
    columns = (
        Column("boundary"),
        Column("by the factors in force", Kind.CARBON),
        Column(f"under {report.query.against.name}", Kind.CARBON),
        Column("ratio"),
        Column("quarter-hours", Kind.COUNT),
        Column("priced by one of the two only, or neither", Kind.COUNT),
    )
    rows = tuple(
        (
            f"{row.boundary.value}, {row.basis.value}-based",
            row.in_force_ug,
            row.under_pack_ug,
            f"{row.under_pack_ug / row.in_force_ug:.4f}" if row.in_force_ug else "-",
            row.slices,
            row.unknown,
        )
        for row in report.under_pack
    )
    pack = report.query.against
    lead = (
        f"The same energy at the same PUE under the factor pack {pack.name} (SHA-256 of its rows {pack.rows_sha256})."
        " Both columns are of the quarter-hours that both could price. Nothing was posted by it."
    )
    yield Section("under_pack", "Under another factor pack", lead, columns, rows)


def _carbon(report: AuditReport) -> Iterable[Section]:
    for table in (*carbon.tables(report), *metered.tables(report)):
        yield _of(table)


def _of(table: carbon.Table) -> Section:
    columns = tuple(Column(name, Kind(kind), missing) for name, kind, missing in table.columns)
    return Section(table.name, table.title, table.lead, columns, table.rows)


def _checks(report: AuditReport) -> Iterable[Section]:
    rows = tuple(
        (check.name, check.items, "equal to the last unit" if check.passed else "; ".join(check.differences))
        for check in report.checks
    )
    columns = (Column("what was computed a second time"), Column("items", Kind.COUNT), Column("result"))
    yield Section("checks", "Recomputed", "What does not come out is named.", columns, rows)
