"""The tables about carbon beside the totals: there where there is something to say, and with what is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from joulegate.core.audit import EmbodiedBy, Query, audit
from joulegate.core.evidence import Evidence
from joulegate.core.instruments import Instrument, InstrumentKind
from joulegate.core.periods import Period
from joulegate.packs import embodied_figures
from joulegate_api.reports.carbon import tables
from tests.plugin.core.audited import NOON, RATES, REFERENCE, fact, record

DAY = Period(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=1))


def test_a_report_without_any_of_it_has_none_of_the_tables() -> None:
    assert RATES.location is not None
    fresh = replace(RATES, location=replace(RATES.location, data_until=NOON))
    made = audit(Query(DAY, None), [fact(record("a", [5]), fresh)], (), "joulegate 0")
    assert [table.name for table in tables(made)] == ["categories"]


def test_each_table_says_what_is_known_and_what_is_not() -> None:
    assert RATES.location is not None
    old = replace(RATES, location=replace(RATES.location, data_until=NOON.replace(year=2024, month=1)))
    bought = Instrument(InstrumentKind.CONTRACT, "PPA 3", "DE", DAY.start, DAY.end, 100, 0, "contract 3", REFERENCE)
    query = Query(DAY, None, embodied=EmbodiedBy("0" * 64, 4))
    evidence = Evidence(instruments=((NOON, bought),), figures=embodied_figures())
    made = audit(query, [fact(record("a", [1_000]), old)], (), "joulegate 0", evidence)
    _, market, embodied, stale = tables(made)
    assert market.rows[0][:4] == ("contract PPA 3", 100, 100, 0)
    assert market.rows[1][3] is None, "no residual mix"
    assert market.rows[2][:2] == ("covered by nothing that is known", 1_440)
    assert "Falk" in str(embodied.rows[0][-1])
    assert "Boavizta" in str(embodied.rows[0][-1])
    assert stale.rows == (("DE", "grid data 1", NOON.replace(year=2024, month=1), 1),)
    for table in (market, embodied, stale):
        assert all(len(row) == len(table.columns) for row in table.rows)
