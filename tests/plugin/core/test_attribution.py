"""Law 3, energy adds up: a device's energy is its pods' shares and what is nobody's, to the millijoule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.attribution import (
    EQUAL_SPLIT,
    IDLE_UNKNOWN,
    USE_NOT_SEEN,
    Allocation,
    Attribution,
    Holder,
    IdleFloor,
    attribute,
    share_of,
)
from joulegate.core.metering import Uncertainty
from joulegate.core.units import NS_PER_SECOND

MINUTE = 60 * NS_PER_SECOND

subjects = st.sampled_from([f"uid-{letter}/main" for letter in "abcdefg"])
uses = st.none() | st.integers(0, 10**12)


@st.composite
def allocations(draw: st.DrawFn) -> Allocation:
    """Any way in which a device can be held: whole, by replicas, by MIG slices, by more than it has, by nobody."""
    holders = draw(st.lists(st.builds(Holder, subjects, st.integers(1, 7), uses), max_size=8))
    return Allocation(draw(st.integers(1, 28)), tuple(holders), draw(st.integers(0, 10**12)))


stretches = st.tuples(
    st.integers(0, 10**13), st.integers(0, 15 * MINUTE), st.none() | st.integers(0, 10**13), allocations()
)


def parts(found: Attribution) -> list[int]:
    """Every number of an attribution."""
    shares = [found.nobody, *found.shares.values()]
    return [number for share in shares for number in (share.active_mj, share.idle_mj, share.allocated_ns)]


@given(stretches)
def test_law_3_the_shares_and_what_is_nobodys_sum_to_the_device(
    stretch: tuple[int, int, int | None, Allocation],
) -> None:
    energy_mj, duration_ns, idle_mj, allocation = stretch
    found = attribute(energy_mj, duration_ns, idle_mj, allocation)
    assert found.energy_mj == energy_mj
    assert min(parts(found)) >= 0
    assert sum(share.allocated_ns for share in [found.nobody, *found.shares.values()]) == duration_ns
    assert set(found.shares) == {holder.subject for holder in allocation.holders}


@given(stretches, st.randoms())
def test_the_order_in_which_holders_are_listed_changes_no_share(
    stretch: tuple[int, int, int | None, Allocation], random: object
) -> None:
    energy_mj, duration_ns, idle_mj, allocation = stretch
    holders = list(allocation.holders)
    random.shuffle(holders)  # type: ignore[attr-defined]
    shuffled = Allocation(allocation.capacity, tuple(holders), allocation.others_used)
    assert attribute(energy_mj, duration_ns, idle_mj, shuffled) == attribute(
        energy_mj, duration_ns, idle_mj, allocation
    )


@given(st.lists(stretches, max_size=30))
def test_law_3_holds_over_any_history_of_one_device(
    history: list[tuple[int, int, int | None, Allocation]],
) -> None:
    found = [attribute(*stretch) for stretch in history]
    by_subject = {subject: 0 for one in found for subject in one.shares}
    for one in found:
        for subject, share in one.shares.items():
            by_subject[subject] += share.reserved_mj
    nobody = sum(one.nobody.reserved_mj for one in found)
    assert sum(by_subject.values()) + nobody == sum(energy_mj for energy_mj, *_ in history)


def test_a_device_that_one_pod_holds_is_all_its_own() -> None:
    found = attribute(1_000, MINUTE, 300, Allocation(1, (Holder("a", 1),)))
    assert (found.shares["a"].used_mj, found.shares["a"].reserved_mj) == (700, 1_000)
    assert found.shares["a"].allocated_ns == MINUTE
    assert found.nobody.reserved_mj == 0
    assert found.flags == ()


def test_the_processes_of_a_pod_that_nobody_could_match_do_not_make_its_own_device_cheaper() -> None:
    found = attribute(1_000, MINUTE, 300, Allocation(1, (Holder("a", 1, used=0),), others_used=50))
    assert found.shares["a"].reserved_mj == 1_000


def test_time_slices_split_active_energy_by_use_and_idle_energy_by_replicas() -> None:
    held = Allocation(4, (Holder("a", 1, used=30), Holder("b", 2, used=10)))
    found = attribute(1_000, MINUTE, 200, held)
    assert {name: (share.active_mj, share.idle_mj) for name, share in found.shares.items()} == {
        "a": (600, 50),
        "b": (200, 100),
    }
    assert (found.nobody.active_mj, found.nobody.idle_mj) == (0, 50)
    assert found.shares["b"].allocated_ns == MINUTE // 2


def test_use_by_processes_outside_every_holder_is_nobodys() -> None:
    found = attribute(1_000, MINUTE, 0, Allocation(2, (Holder("a", 1, used=30),), others_used=10))
    assert (found.shares["a"].active_mj, found.nobody.active_mj) == (750, 250)


def test_mps_without_use_is_split_equally_and_says_so() -> None:
    found = attribute(900, MINUTE, 0, Allocation(3, (Holder("a", 1, used=5), Holder("b", 1), Holder("c", 1))))
    assert [found.shares[name].active_mj for name in "abc"] == [300, 300, 300]
    assert found.flags == (EQUAL_SPLIT,)


def test_mig_slices_carry_idle_energy_by_their_size_and_free_slices_are_nobodys() -> None:
    held = Allocation(7, (Holder("a", 3, used=3 * 50), Holder("b", 1, used=1 * 50)))
    found = attribute(2_700, MINUTE, 700, held)
    assert (found.shares["a"].active_mj, found.shares["a"].idle_mj) == (1_500, 300)
    assert (found.shares["b"].active_mj, found.shares["b"].idle_mj) == (500, 100)
    assert found.nobody.idle_mj == 300


def test_a_pod_with_two_slices_of_one_board_has_one_share() -> None:
    found = attribute(700, MINUTE, 700, Allocation(7, (Holder("a", 2, used=0), Holder("a", 3, used=0))))
    assert found.shares["a"].idle_mj == 500


def test_energy_of_a_device_that_nobody_holds_is_nobodys() -> None:
    found = attribute(1_000, MINUTE, 400, Allocation(1))
    assert found.shares == {}
    assert found.nobody.reserved_mj == 1_000


def test_energy_that_nobody_was_seen_using_is_split_by_allocation_and_marked() -> None:
    found = attribute(1_000, MINUTE, 200, Allocation(2, (Holder("a", 1, used=0), Holder("b", 1, used=0))))
    assert [found.shares[name].active_mj for name in "ab"] == [400, 400]
    assert found.flags == (USE_NOT_SEEN,)


def test_a_device_never_seen_idle_has_no_idle_energy_and_says_so() -> None:
    found = attribute(1_000, MINUTE, None, Allocation(2, (Holder("a", 1, used=1), Holder("b", 1, used=3))))
    assert [found.shares[name].active_mj for name in "ab"] == [250, 750]
    assert found.flags == (IDLE_UNKNOWN,)


def test_equal_remainders_go_to_the_first_uid() -> None:
    found = attribute(1, MINUTE, 0, Allocation(2, (Holder("uid-b", 1, used=1), Holder("uid-a", 1, used=1))))
    assert (found.shares["uid-a"].active_mj, found.shares["uid-b"].active_mj) == (1, 0)


def test_more_holders_than_a_device_has_units_share_all_of_it() -> None:
    found = attribute(900, MINUTE, 900, Allocation(1, (Holder("a", 1, used=0), Holder("b", 1, used=0))))
    assert [found.shares[name].idle_mj for name in "ab"] == [450, 450]


@pytest.mark.parametrize(
    "arguments",
    [(0, ()), (1, (Holder("a", 0),)), (1, (Holder("", 1),)), (1, (Holder("a", 1, used=-1),)), (1, (), -1)],
)
def test_an_allocation_that_cannot_be_is_refused(arguments: tuple[int, tuple[Holder, ...]]) -> None:
    with pytest.raises(ValueError, match=r"allocated|name"):
        Allocation(*arguments)


def test_the_idle_floor_is_the_lowest_long_mean_and_unknown_before_the_first() -> None:
    floor = IdleFloor()
    assert floor.over(MINUTE) is None
    floor.observe(80 * 1_000 * 60, MINUTE)
    floor.observe(1, NS_PER_SECOND)  # too short to be believed
    assert floor.power_mw == 80_000
    floor.observe(60 * 1_000 * 60, MINUTE)
    floor.observe(90 * 1_000 * 60, MINUTE)
    assert floor.over(10 * NS_PER_SECOND) == 600_000


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**11))
def test_the_uncertainty_of_a_share_is_never_smaller_than_its_proportion(whole: int, part: int, width: int) -> None:
    part = min(part, whole)
    uncertainty = Uncertainty(max(0, whole - width), whole + width, "0.95", width, 1, 2, 3)
    share = share_of(uncertainty, part, whole)
    assert share.gain_mj * whole >= width * part
    assert share.lower_mj <= part <= share.upper_mj
