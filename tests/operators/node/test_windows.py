"""Laws 2 and 3 over histories of one device: nothing unexplained, nothing invented, to the millijoule."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.core.metering import NVML, Method
from joulegate.core.units import NS_PER_SECOND
from joulegate.windows import WindowBody
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject
from joulegate_operators.node.windows import Chain
from tests.operators.node.fleet import Board

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECOND = NS_PER_SECOND


def pod(uid: str, name: str | None = None, container: str = "main") -> Subject:
    return Subject(uid, "vision", name or f"pod-{uid}", container)


def exclusive(uid: str) -> DeviceHolds:
    return DeviceHolds(holds=(Hold(pod(uid), 1),))


def closed(chain: Chain, give_up_before_ns: int = 0) -> list[WindowBody]:
    return [window for stretch in chain.closed(give_up_before_ns) for window in stretch.windows]


def date(at_ns: int) -> datetime:
    return START + timedelta(microseconds=at_ns // 1_000)


@dataclass
class Life:
    """One board and its chain, a second at a time."""

    board: Board = field(default_factory=lambda: Board("GPU-1"))
    at_ns: int = 0
    windows: list[WindowBody] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain = Chain(self.board.device(), NVML)
        self.tick()
        start_ns = self.chain.known_from_ns or 0
        self.chain.cut(start_ns, date(start_ns), DeviceHolds())

    def tick(self, *, missed: bool = False) -> None:
        self.at_ns += SECOND
        if missed:
            self.board.advance(self.at_ns)
        else:
            self.chain.read(self.board.reading(self.at_ns))

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.tick()

    def holds(self, holds: DeviceHolds | None = None) -> None:
        self.chain.cut(self.at_ns, date(self.at_ns), holds)

    def finish(self) -> list[WindowBody]:
        self.chain.cut(self.at_ns, date(self.at_ns))
        self.run(2)
        self.windows += closed(self.chain)
        return self.windows

    def killed(self) -> None:
        """What a kill leaves: the state as it was written, and nothing else."""
        self.windows += closed(self.chain)
        state = json.loads(json.dumps(self.chain.to_json()))
        self.chain = Chain.from_json(self.board.device(), NVML, state)


def drawn(windows: list[WindowBody]) -> dict[str | None, int]:
    totals: defaultdict[str | None, int] = defaultdict(int)
    for window in windows:
        totals[window.pod_uid] += (window.active_mj or 0) + (window.idle_mj or 0)
    return dict(totals)


def check_law_3(windows: list[WindowBody]) -> None:
    """Windows of a device meet in time and energy, and those of one stretch sum to it."""
    stretches: defaultdict[tuple[datetime, datetime], list[WindowBody]] = defaultdict(list)
    for window in windows:
        stretches[window.start, window.end].append(window)
    spans = sorted(stretches)
    for (_, end), (start, _) in pairwise(spans):
        assert end == start
    before = None
    for span in spans:
        rows = stretches[span]
        assert len({(row.energy_start_mj, row.energy_end_mj) for row in rows}) == 1
        first, last = rows[0].energy_start_mj, rows[0].energy_end_mj
        assert before is None or first == before
        before = last
        assert sum((row.active_mj or 0) + (row.idle_mj or 0) for row in rows) == last - first
        assert all(min(row.active_mj or 0, row.idle_mj or 0) >= 0 for row in rows)
        assert len({(row.pod_uid, row.container) for row in rows}) == len(rows)
        for row in rows:
            assert (row.active_mj is None) == (row.method is Method.NOT_MEASURED) == (row.coverage == 0)


def test_a_pod_that_holds_a_whole_board_draws_what_the_board_drew_meanwhile() -> None:
    life = Life()
    life.run(60)
    life.holds(exclusive("a"))
    before = life.board.energy_mj
    life.board.draw(life.at_ns, 300_000)
    life.run(600)
    life.holds(DeviceHolds())
    truth = life.board.energy_mj - before
    windows = life.finish()
    check_law_3(windows)
    assert abs(drawn(windows)["a"] - truth) <= 300_000 * 0.1
    (window,) = [window for window in windows if window.pod_uid == "a"]
    assert window.allocated_gpu_ns == 600 * SECOND
    assert window.idle_mj is not None
    assert abs(window.idle_mj - 60_000 * 600) < 60_000 * 600 // 100
    assert (window.method, window.coverage) == (Method.NVML_COUNTER, 1.0)


def test_a_pod_made_again_under_its_name_has_windows_of_its_own() -> None:
    life = Life()
    life.holds(DeviceHolds(holds=(Hold(pod("a", "job-0"), 1),)))
    life.run(100)
    life.holds(DeviceHolds(holds=(Hold(pod("b", "job-0"), 1),)))
    life.run(100)
    windows = life.finish()
    check_law_3(windows)
    assert {window.pod_uid for window in windows if window.pod == "job-0"} == {"a", "b"}


def test_f2_a_driver_that_is_reloaded_makes_a_window_of_its_own_and_no_negative_energy() -> None:
    life = Life()
    life.holds(exclusive("a"))
    life.run(100)
    life.board.reload_driver()
    life.run(100)
    windows = life.finish()
    check_law_3(windows)
    assert {Method.NVML_COUNTER, Method.NVML_POWER_INTEGRAL} <= {window.method for window in windows}
    assert "counter_backwards" in {flag for window in windows for flag in window.flags}


def test_a_board_without_counter_that_was_not_read_has_a_gap_that_is_not_zero() -> None:
    life = Life(Board("GPU-1", has_counter=False))
    life.holds(exclusive("a"))
    life.run(60)
    for _ in range(30):
        life.tick(missed=True)
    life.run(60)
    windows = life.finish()
    check_law_3(windows)
    gaps = [window for window in windows if window.method is Method.NOT_MEASURED]
    assert [(gap.active_mj, gap.pod_uid) for gap in gaps] == [(None, "a")]


def test_a_board_that_never_came_back_is_closed_as_a_gap_when_patience_ends() -> None:
    life = Life()
    life.holds(exclusive("a"))
    life.run(60)
    life.board.answers = False
    life.at_ns += 600 * SECOND
    life.holds()
    windows = closed(life.chain)
    assert len(windows) == 1
    windows += closed(life.chain, give_up_before_ns=life.at_ns + 1)
    check_law_3(windows)
    assert windows[-1].active_mj is None
    life.board.answers = True
    life.run(60)
    windows += life.finish()
    check_law_3(windows)


def mig(*holds: tuple[str, int]) -> DeviceHolds:
    return DeviceHolds(Sharing.MIG, 7, tuple(Hold(pod(uid), units, f"MIG-{uid}") for uid, units in holds))


all_holds = st.one_of(
    st.just(DeviceHolds()),
    st.sampled_from("abc").map(exclusive),
    st.lists(st.sampled_from("abcd"), unique=True, max_size=4).map(
        lambda uids: DeviceHolds(Sharing.REPLICAS, 4, tuple(Hold(pod(uid), 1) for uid in uids))
    ),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), max_size=3).map(lambda rows: mig(*rows)),
)
events = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 40)),
    st.tuples(st.just("miss"), st.integers(1, 20)),
    st.tuples(st.just("power"), st.integers(0, 400_000)),
    st.tuples(st.just("reload"), st.just(0)),
    st.tuples(st.just("lose counter"), st.booleans()),
    st.tuples(st.just("holds"), all_holds),
    st.tuples(
        st.just("use"),
        st.none() | st.dictionaries(st.sampled_from(["a/main", "b/main", "c/main"]), st.integers(0, 100)),
    ),
    st.tuples(st.just("kill"), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=25))
def test_law_3_holds_over_any_history_and_kills_change_no_window(history: list[tuple[str, object]]) -> None:
    lives = [Life(), Life()]
    for kind, value in history:
        for number, life in enumerate(lives):
            if kind == "run":
                life.run(int(str(value)))
            elif kind == "miss":
                for _ in range(int(str(value))):
                    life.tick(missed=True)
            elif kind == "power":
                life.board.draw(life.at_ns, int(str(value)))
            elif kind == "reload":
                life.board.reload_driver()
            elif kind == "lose counter":
                life.board.has_counter = not value
            elif kind == "holds":
                assert isinstance(value, DeviceHolds)
                life.holds(value)
            elif kind == "use":
                assert value is None or isinstance(value, dict)
                life.chain.used(value)
            elif number == 1:
                life.killed()
    undisturbed, killed = (life.finish() for life in lives)
    check_law_3(undisturbed)
    counted = {window.method for window in undisturbed} <= {Method.NVML_COUNTER, Method.NOT_MEASURED}
    most_mj = lives[0].board.energy_mj + 1 if counted else 400 * 1_000 * (lives[0].at_ns // SECOND)
    assert sum(drawn(undisturbed).values()) <= most_mj
    check_law_3(killed)
    # A curve begun anew counts from another fraction of a millijoule: at most one a kill.
    kills = sum(kind == "kill" for kind, _ in history)
    assert abs(sum(drawn(killed).values()) - sum(drawn(undisturbed).values())) <= kills
    assert drawn(killed).keys() == drawn(undisturbed).keys()
