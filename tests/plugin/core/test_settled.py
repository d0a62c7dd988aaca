"""What was charged: windows where a node meter runs, records elsewhere, and every part in one whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.footprint import Rates
from joulegate.core.periods import Period, format_instant
from joulegate.core.settled import WHOLE, Cells, Charges, Source, settled_again, settled_of
from tests.plugin.core.audited import NO_RATES, NOON, fact, record

DAY = Period(NOON, NOON + timedelta(days=1))
BY = [None, None, None, None]


def unknown(ids: Any) -> Rates:
    return NO_RATES


def batch(*windows: tuple[int, int, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Windows as quarter-hour, energy in mJ and pod."""
    rows = [
        {
            "device_uuid": "GPU-1",
            "start": format_instant(NOON + timedelta(minutes=15 * quarter)),
            "active_mj": str(energy_mj),
            "idle_mj": "1",
            "allocated_gpu_ns": "60",
            "pod_uid": pod,
            "namespace": f"of-{pod}",
        }
        for quarter, energy_mj, pod in windows
    ]
    rates = [{"device_uuid": "GPU-1", "quarter": row["start"], "rates": BY} for row in rows]
    return {"cluster": "local", "priced": {"rates": rates}}, rows


WINDOWS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 9_999), st.sampled_from("abc")), min_size=1)


def cells_of(*batches: list[tuple[int, int, str]]) -> tuple[Any, ...]:
    cells = Cells(DAY, DAY.end + timedelta(days=9))
    for windows in batches:
        cells.windows(DAY.end, *batch(*windows))
    return tuple(cells.priced(unknown))


@given(WINDOWS, st.data())
def test_neither_order_nor_batches_change_what_was_charged(windows: list[Any], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(windows))
    at = data.draw(st.integers(0, len(windows)))
    assert cells_of(windows) == cells_of(shuffled[:at], shuffled[at:])


@given(WINDOWS)
def test_the_parts_of_every_scope_add_up_to_the_whole(windows: list[Any]) -> None:
    charged = [replace(fact(record("laptop", [7])), charged=True)]
    rows = settled_of(Charges().add(cells_of(windows)), charged)
    known_mj = sum(energy_mj + 1 for quarter, energy_mj, _ in windows if quarter < 96)
    if not known_mj:
        assert rows == ()
        return
    assert all(check.passed for check in settled_again(rows, ()))
    found = {row.source: row.energy_mj for row in rows if row.group == WHOLE}
    assert found == {Source.METERS: known_mj, Source.RECORDS: 7, Source.CHARGED: known_mj + 7}


def test_a_record_that_a_meter_charged_for_is_in_no_sum() -> None:
    beside = replace(fact(record("own", [70])), charged=False)
    found = {
        row.source: row.energy_mj
        for row in settled_of(Charges().add(cells_of([(0, 4, "a")])), [beside])
        if row.group == WHOLE
    }
    assert found == {Source.METERS: 5, Source.CHARGED: 5, Source.BESIDE: 70}


def test_windows_priced_anew_are_charged_once() -> None:
    cells = Cells(DAY, DAY.end)
    cells.windows(NOON, *batch((0, 4, "a")))
    row = {"subject": "a", "device_uuid": "GPU-1", "quarter": format_instant(NOON), "rates": BY, "to": ["s", *BY[1:]]}
    cells.repriced(DAY.end, {"cluster": "local", "before": [row | {"energy_mj": "5", "gpu_ns": "60"}]})
    (cell,) = cells.priced(unknown)
    assert (cell.footprint.energy.mj if cell.footprint.energy else None, cell.gpu_ns, cell.at) == (5, 60, DAY.end)


def test_a_part_that_was_changed_is_named() -> None:
    rows = settled_of(Charges().add(cells_of([(0, 4, "a"), (1, 8, "b")])), ())
    for index, row in enumerate(rows):
        changed = [*rows[:index], replace(row, energy_mj=(row.energy_mj or 0) + 1), *rows[index + 1 :]]
        (check,) = settled_again(changed, ())
        assert not check.passed


def test_what_lies_after_the_instant_is_not_in_it() -> None:
    cells = Cells(DAY, NOON)
    cells.windows(DAY.end, *batch((0, 4, "a")))
    assert settled_of(Charges().add(cells.priced(unknown)), ()) == ()
