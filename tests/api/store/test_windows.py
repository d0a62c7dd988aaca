"""Windows are kept once, weighed against what is known, and charged as a function of cumulative energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate.core.budgets import Limits
from joulegate.core.errors import ConflictError, InvalidInputError
from joulegate.core.log import EntryType
from joulegate.core.metering import Boundary, Method
from joulegate.core.units import Money, Unit
from joulegate_api.store import Device, Store, Window, WindowBatch
from tests.api.store.examples import (
    MODEL,
    MORNING,
    QUARTER,
    Clock,
    budget,
    device,
    intensity,
    price,
    quote,
    record,
    request,
    site,
)


def furnish(store: Store) -> None:
    store.budgets.put(budget(limits=Limits(10**12, 10**15, 10**12, "EUR")), "admin")
    store.rates.put_intensities([intensity(333_333_333)], "admin")
    store.rates.put_prices([price(277_777)], "admin")
    store.rates.put_sites([site(pue_ppm=1_234_567)], "admin")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store.open(database_url, clock=Clock())
    furnish(opened)
    yield opened
    opened.close()


def window(seq: int, energy_mj: int = 900, **other: Any) -> Window:
    """A minute of one pod that holds the whole device; minute by minute, E(t) goes on."""
    fields: dict[str, Any] = {
        "device_uuid": "GPU-1",
        "start": MORNING + timedelta(minutes=seq),
        "end": MORNING + timedelta(minutes=seq + 1),
        "energy_start_mj": seq * 10**7,
        "energy_end_mj": (seq + 1) * 10**7,
        "active_mj": energy_mj,
        "idle_mj": 0,
        "allocated_gpu_ns": 60 * 10**9,
        "pod_uid": "pod-1",
        "namespace": "vision",
        "pod": "trainer",
        "container": "main",
        "method": Method.NVML_COUNTER,
        "boundary": Boundary.ACCELERATOR,
        "coverage": 1.0,
        "uncertainty": None,
    }
    return Window(window_seq=seq, **fields | other)


def batch(*windows: Window, incarnation: str = "node-1/log-1") -> WindowBatch:
    return WindowBatch("local", "node-1", incarnation, windows[0].window_seq, windows)


def standing(store: Store) -> tuple[int, int, int, int]:
    found = store.budgets.balance("vision", at=MORNING).balances
    return found[Unit.MJ].posted, found[Unit.UG].posted, found[Unit.MICROS].posted, found[Unit.MJ].pending


def test_windows_are_charged_to_the_budget_of_their_namespace(store: Store) -> None:
    answer = store.windows.ingest(batch(window(0), window(1, 100)))
    assert (answer.accepted_seq, answer.quarantined) == (1, ())
    assert standing(store)[0] == 1_000
    assert store.trial_balance.run().differences == ()


def test_law_7_a_repeat_changes_nothing(store: Store) -> None:
    sent = batch(window(0), window(1))
    first = store.windows.ingest(sent)
    stood = standing(store)
    assert store.windows.ingest(sent) == first
    assert store.windows.ingest(batch(window(1), window(2))).accepted_seq == 2
    assert standing(store)[0] == stood[0] + 900


def test_the_high_water_mark_is_contiguous(store: Store) -> None:
    assert store.windows.ingest(batch(window(2), window(3))).accepted_seq == -1
    assert store.windows.ingest(batch(window(0))).accepted_seq == 0
    assert store.windows.ingest(batch(window(1))).accepted_seq == 3


def test_the_same_number_with_other_content_is_kept_apart_and_named(store: Store) -> None:
    store.windows.ingest(batch(window(0)))
    for _ in range(2):
        answer = store.windows.ingest(batch(window(0, 901)))
        assert [(found.window_seq, found.reason) for found in answer.quarantined] == [
            (0, "has the number of another window")
        ]
    assert standing(store)[0] == 900


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"end": MORNING + QUARTER + timedelta(seconds=1)}, "is not cut at quarter-hours"),
        ({"end": MORNING}, "is not cut at quarter-hours"),
        ({"active_mj": -1}, "has a negative amount"),
        ({"energy_end_mj": -1}, "has a negative amount"),
        ({"active_mj": 10**7 + 1}, "has more energy than its device drew"),
        ({"energy_end_mj": 10**13 + 1}, "has more energy than its device can draw"),
    ],
)
def test_a_window_that_cannot_be_is_kept_apart_and_counts_as_accepted(
    store: Store, wrong: dict[str, Any], reason: str
) -> None:
    answer = store.windows.ingest(batch(window(0, **wrong), window(1)))
    assert [(found.window_seq, found.reason) for found in answer.quarantined] == [(0, reason)]
    assert answer.accepted_seq == 1
    assert standing(store)[0] == 900


def test_a_device_with_a_known_limit_cannot_draw_much_more(store: Store) -> None:
    store.devices.enroll(Device("local", "node-1", "GPU-1", MODEL, 100_000, MORNING))
    answer = store.windows.ingest(batch(window(0)))
    assert answer.quarantined[0].reason == "has more energy than its device can draw"


def test_windows_of_one_subject_do_not_overlap_and_those_of_one_device_do_not_exceed_it(store: Store) -> None:
    store.windows.ingest(batch(window(0, 6 * 10**6)))
    again = replace(
        window(1, 5), start=MORNING, end=MORNING + timedelta(minutes=1), energy_start_mj=0, energy_end_mj=10**7
    )
    beside = replace(again, window_seq=2, pod_uid="pod-2", active_mj=4 * 10**6)
    too_much = replace(again, window_seq=3, pod_uid="pod-3", active_mj=1)
    answer = store.windows.ingest(batch(again, beside, too_much))
    assert [(found.window_seq, found.reason) for found in answer.quarantined] == [
        (1, "overlaps another window of the same device and subject"),
        (3, "together with others has more energy than its device drew"),
    ]
    assert standing(store)[0] == 10**7


def test_energy_that_no_pod_held_is_charged_to_no_budget(store: Store) -> None:
    store.windows.ingest(batch(window(0, pod_uid=None, namespace=None)))
    assert standing(store) == (0, 0, 0, 0)


def test_windows_of_a_held_root_draw_its_hold(store: Store) -> None:
    store.ledger.decide(request("pod-1", quote(2_000, carbon_ug=50, cost=Money(9, "EUR"))))
    store.windows.ingest(batch(window(0), window(1)))
    assert (standing(store)[0], standing(store)[3]) == (1_800, 200)
    store.windows.ingest(batch(window(2)))
    assert (standing(store)[0], standing(store)[3]) == (2_700, 0)
    assert store.trial_balance.run().differences == ()


def test_numbers_must_be_contiguous_and_an_incarnation_belongs_to_one_node(store: Store) -> None:
    with pytest.raises(InvalidInputError):
        store.windows.ingest(batch(window(0), window(2)))
    store.windows.ingest(batch(window(0)))
    with pytest.raises(ConflictError):
        store.windows.ingest(replace(batch(window(1)), node="node-2"))


def test_law_12_where_a_node_meter_runs_self_reported_energy_does_not_charge(store: Store) -> None:
    store.windows.ingest(batch(window(0)))
    store.records.accept(record("a", devices=[device("GPU-9", 500)]), "a", "somebody")
    assert not store.records.get("a").charged
    assert standing(store)[0] == 900


def test_a_device_is_enrolled_once_and_retired_once(store: Store) -> None:
    enrolled = Device("local", "node-1", "GPU-1", MODEL, 400_000, MORNING)
    assert store.devices.enroll(enrolled)
    assert not store.devices.enroll(enrolled)
    with pytest.raises(ConflictError):
        store.devices.enroll(replace(enrolled, model="another"))
    with pytest.raises(ConflictError):
        store.devices.retire(("local", "node-2"), "GPU-1", MORNING + QUARTER)
    assert store.devices.retire(("local", "node-1"), "GPU-1", MORNING + QUARTER)
    assert not store.devices.retire(("local", "node-1"), "GPU-1", MORNING + QUARTER)
    assert store.devices.list() == (replace(enrolled, retired_at=MORNING + QUARTER),)


def test_a_device_moves_to_another_node_once_the_first_has_not_reported_it_for_half_an_hour(store: Store) -> None:
    here = Device("local", "node-1", "GPU-1", MODEL, None, MORNING)
    store.devices.enroll(here)
    store.windows.ingest(batch(window(0), window(1)))
    for minutes in (1, 31):
        with pytest.raises(ConflictError, match="is on node node-1"):
            store.devices.enroll(replace(here, node="node-2", enrolled_at=MORNING + timedelta(minutes=minutes)))
    assert store.devices.enroll(replace(here, node="node-2", enrolled_at=MORNING + timedelta(minutes=33)))


def test_what_was_kept_apart_is_an_entry_of_the_log_once(store: Store) -> None:
    store.windows.ingest(batch(window(0)))
    for _ in range(2):
        store.windows.ingest(batch(window(0, 901), window(1, -1), window(2)))
    (body,) = store.log.bodies(EntryType.WINDOWS_QUARANTINED)
    assert (body["node"], body["incarnation"]) == ("node-1", "node-1/log-1")
    assert [(row["window_seq"], row["reason"]) for row in body["windows"]] == [
        (0, "has the number of another window"),
        (1, "has a negative amount"),
    ]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(energies=st.lists(st.integers(0, 10**7), min_size=2, max_size=16), data=st.data())
def test_law_1_neither_batching_nor_order_nor_repeats_of_windows_change_a_bill(
    tenants: Callable[[], Store], energies: list[int], data: st.DataObject
) -> None:
    sent = [window(seq, energy) for seq, energy in enumerate(energies)]
    cuts = data.draw(st.lists(st.integers(1, len(sent) - 1), max_size=5).map(sorted))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True) if a < b]
    shuffled = data.draw(st.permutations([*pieces, *pieces[: data.draw(st.integers(0, len(pieces)))]]))
    answers = []
    ways: list[Sequence[Sequence[Window]]] = [[sent], shuffled]
    for way in ways:
        store = tenants()
        furnish(store)
        store.ledger.decide(request("pod-1", quote(5 * 10**7, carbon_ug=10**6, cost=Money(10**4, "EUR"))))
        accepted = -1
        for piece in way:
            accepted = store.windows.ingest(batch(*piece)).accepted_seq
        answers.append((standing(store), accepted))
        assert store.trial_balance.run().differences == ()
    assert answers[0] == answers[1]
    assert answers[0][0][0] == sum(energies)


@pytest.fixture
def tenants(database_url: str) -> Iterator[Callable[[], Store]]:
    """Another tenant of the same database each time."""
    opened: list[Store] = []

    def make() -> Store:
        if opened:
            opened[-1].close()
        opened.append(Store.open(database_url, tenant=f"tenant-{len(opened)}", clock=Clock()))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
