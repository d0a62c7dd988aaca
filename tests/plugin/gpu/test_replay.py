"""A recording that is played as a board."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.metering import Method
from joulegate.gpu.replay import ReplayReader, whole_periods

SECOND = 1_000_000_000


def stopped_at(times: list[int]) -> Callable[[], int]:
    """A clock that a test sets by the last element."""
    return lambda: times[-1]


def energies(key: str, times: list[int]) -> list[int]:
    """The counter at each time after the start."""
    clock = [0]
    reader = ReplayReader.named("a100_square", key, stopped_at(clock))
    found = []
    for at in times:
        clock.append(at)
        counter = reader.read(reader.devices()[0]).counter_mj
        assert counter is not None
        found.append(counter)
    return found


@pytest.mark.slow
@given(st.text(max_size=20), st.integers(0, 10**13), st.integers(3_000, 60_000), st.integers(3_000, 60_000))
def test_energy_a_second_of_two_lengths_agrees_within_five_per_cent(key: str, at: int, one: int, two: int) -> None:
    begin, first, second = energies(key, [at, at + one * 1_000_000, at + two * 1_000_000])
    assert (first - begin) / one == pytest.approx((second - begin) / two, rel=0.05)


def test_the_loop_is_whole_periods_of_the_load_and_as_dear_as_the_recording() -> None:
    clock = [0]
    reader = ReplayReader.named("a100_square", "", stopped_at(clock))
    loop = reader._loop
    rises = loop.period_ns / 104_000_000
    assert rises == pytest.approx(round(rises), abs=0.3)
    assert loop.period_ns > 5 * SECOND
    assert loop.energy_mj(100 * loop.period_ns) / (100 * loop.period_ns) == pytest.approx(129_100 / SECOND, rel=0.02)


def test_two_records_begin_at_different_phases_and_one_at_its_own() -> None:
    times = [at * SECOND // 10 for at in range(30)]
    one, again, other = energies("a", times), energies("a", times), energies("b", times)
    assert one == again
    assert [b - one[0] for b in one] != [b - other[0] for b in other]


@pytest.mark.slow
@given(st.text(max_size=20), st.lists(st.integers(0, 10**14), min_size=2, max_size=20))
def test_the_counter_never_runs_backwards(key: str, times: list[int]) -> None:
    found = energies(key, sorted(times))
    assert found == sorted(found)


def test_everything_says_replayed() -> None:
    reader = ReplayReader.named("a100_square", "")
    (device,) = reader.devices()
    assert reader.source == "replayed"
    assert device.uuid.startswith("REPLAY-")
    assert device.model.endswith("(replayed)")
    assert device.flags == ("replayed",)
    assert {reader.methods.counter, reader.methods.power, reader.methods.both} == {Method.REPLAYED}


def test_any_recording_with_a_load_that_repeats_can_be_played(tmp_path: Path) -> None:
    recording = tmp_path / "mine.csv"
    rows = [f"{at},{50_000 if at % 200 < 120 else 250_000}" for at in range(0, 3000, 2)]
    recording.write_text("\n".join(["t_ms,power_mw", *rows]))
    clock = [0]
    reader = ReplayReader.named(str(recording), "k", stopped_at(clock))
    begun = reader.read(reader.devices()[0]).counter_mj
    clock.append(100 * SECOND)
    ended = reader.read(reader.devices()[0]).counter_mj
    assert begun is not None
    assert ended is not None
    assert ended - begun == pytest.approx(13_000_000, rel=0.01)
    assert reader.devices()[0].model == "mine.csv (replayed)"


@pytest.mark.parametrize("name", ["no_such_recording", "/no/such/file.csv", "", "../../etc"])
def test_a_recording_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(InvalidInputError, match="no recording"):
        ReplayReader.named(name, "")


def test_a_recording_of_a_constant_load_cannot_be_looped(tmp_path: Path) -> None:
    recording = tmp_path / "flat.csv"
    recording.write_text("t_ms,power_mw\n1,5\n2,5\n3,5\n")
    with pytest.raises(InvalidInputError, match="repeats"):
        ReplayReader.named(str(recording), "")


def test_periods_are_counted_from_rise_to_rise() -> None:
    assert whole_periods([0, 0, 9, 9, 0, 9, 0, 0, 9]) == (2, 8)
