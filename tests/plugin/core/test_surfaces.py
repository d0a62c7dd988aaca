"""Energy over settings: near what is near, unsure where nothing is, and right about how unsure."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.surfaces import Setting, Surface, fraction_of_limit

settings = st.builds(Setting, st.floats(1, 1e5), st.floats(50, 800), st.sampled_from(["adam", "sgd"]))
runs = st.lists(st.tuples(settings, st.floats(1, 1e9)), min_size=1, max_size=8, unique_by=lambda run: run[0])


def grid(random_: random.Random, batches: int = 8, limits: int = 6) -> list[tuple[Setting, float]]:
    """A workload whose energy falls with the batch size and has its least at a middle limit, a few per cent off."""
    found = []
    for batch in (2**at for at in range(batches)):
        for limit in range(100, 100 + 25 * limits, 25):
            truth = 500 / batch**0.6 + 40 + 0.002 * (limit - 170) ** 2
            found.append((Setting(batch, limit), truth * math.exp(random_.gauss(0, 0.02))))
    return found


def fitted(some: list[tuple[Setting, float]]) -> Surface:
    return Surface([setting for setting, _ in some], [energy for _, energy in some])


@given(runs, settings)
def test_quantiles_are_positive_ordered_and_finite(some: list[tuple[Setting, float]], setting: Setting) -> None:
    guess = fitted(some).at(setting)
    assert 0 < guess.at(0.1) < guess.at(0.5) < guess.at(0.9) < math.inf


@given(runs, st.randoms(use_true_random=False))
def test_the_order_of_the_runs_does_not_matter(some: list[tuple[Setting, float]], shuffler: random.Random) -> None:
    other = list(some)
    shuffler.shuffle(other)
    one, two = fitted(some).at(Setting(64, 200)), fitted(other).at(Setting(64, 200))
    assert one.log_mean == pytest.approx(two.log_mean, abs=1e-6)
    assert one.log_sigma == pytest.approx(two.log_sigma, rel=1e-6)


@given(runs, st.floats(1e-3, 1e3))
def test_energies_in_another_unit_give_the_same_in_that_unit(some: list[tuple[Setting, float]], unit: float) -> None:
    one = fitted(some).at(Setting(64, 200)).at(0.9)
    other = fitted([(setting, energy * unit) for setting, energy in some]).at(Setting(64, 200)).at(0.9)
    assert other == pytest.approx(one * unit, rel=1e-6)


def test_a_setting_between_others_is_predicted_within_a_few_per_cent() -> None:
    some = grid(random.Random(1))  # noqa: S311 -- a simulation, not a secret
    rest = [run for run in some if run[0].batch_size != 8]
    surface = fitted(rest)
    for setting, energy in some:
        if setting.batch_size == 8:
            assert surface.at(setting).at(0.5) == pytest.approx(energy, rel=0.1)


def test_far_from_what_was_seen_it_is_less_sure() -> None:
    surface = fitted(grid(random.Random(2)))  # noqa: S311 -- a simulation, not a secret
    near, far = surface.at(Setting(10, 160)), surface.at(Setting(10_000, 160))
    assert far.log_sigma > 3 * near.log_sigma


def test_one_run_is_known_to_be_one_run() -> None:
    guess = Surface([Setting(32, 200)], [100.0]).at(Setting(32, 200))
    assert guess.at(0.5) == pytest.approx(100)
    assert guess.at(0.9) > 110
    assert Surface([Setting(32, 200)], [100.0]).at(Setting(4096, 200)).at(0.9) > 200


def test_another_optimizer_is_near_but_not_the_same() -> None:
    some = [(Setting(2**at, 200, "adam"), 100.0 + at) for at in range(6)]
    same, other = fitted(some).at(Setting(8, 200, "adam")), fitted(some).at(Setting(8, 200, "sgd"))
    assert other.log_sigma > same.log_sigma
    assert other.at(0.5) == pytest.approx(same.at(0.5), rel=0.05)


@pytest.mark.slow
def test_nine_in_ten_runs_that_were_left_out_stay_below_the_upper_quantile() -> None:
    below = total = 0
    for seed in range(6):
        some = grid(random.Random(seed))  # noqa: S311 -- a simulation, not a secret
        for at, (setting, energy) in enumerate(some):
            below += energy <= fitted([*some[:at], *some[at + 1 :]]).at(setting).at(0.9)
            total += 1
    assert 0.85 <= below / total <= 0.97


@pytest.mark.parametrize("energies", [[], [0.0], [-1.0]])
def test_nothing_is_made_of_nothing(energies: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Surface([Setting(1, 100)] * len(energies), energies)


def test_a_workload_that_ran_often_counts_once() -> None:
    assert fraction_of_limit([[0.9] * 100, [0.5], [0.7, 0.6, 0.8]]) == pytest.approx(0.7)
