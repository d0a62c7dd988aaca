"""Forecasts: the sum of a demand's groups, on the weakest basis and the fewest runs of them."""

from fractions import Fraction

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import RateBook
from joulegate.core.prediction import Basis, PastRun
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group
from joulegate_api.forecasts import MEDIAN, forecast
from joulegate_api.settings import load
from tests.api.store.examples import MORNING

HOUR = 3_600 * 10**9
P90 = Fraction(9, 10)
A100, T4 = "NVIDIA-A100-SXM4-80GB", "Tesla-T4"
RUN = PastRun("vision", "resnet", "training", A100, Fraction(1), HOUR, 10**9)


def demand(*groups: Group, declared_ns: int | None = HOUR) -> Demand:
    return Demand(Kind.TRAINING, groups, model="resnet", declared_ns=declared_ns)


def test_groups_are_added_and_each_is_predicted_by_its_own_board() -> None:
    both = forecast(demand(Group(A100, Fraction(1), 2), Group(T4, Fraction(1), 1)), "vision", (), load())
    assert both.energy_mj(P90) == (2 * 400 + 70) * 3_600_000
    quote = both.quote(RateBook((), (), ()), "default", MORNING, P90)
    assert quote.energy_mj == both.energy_mj(P90)
    assert both.energy_mj(MEDIAN) < both.energy_mj(P90) < both.energy_mj(Fraction(99, 100))


def test_the_weakest_group_says_what_the_whole_stands_on() -> None:
    runs = (RUN,) * 5
    known = forecast(demand(Group(A100, Fraction(1), 1)), "vision", runs, load())
    assert (known.basis, known.n) == (Basis.HISTORY, 5)
    mixed = forecast(demand(Group(A100, Fraction(1), 1), Group(T4, Fraction(1), 1)), "vision", runs, load())
    assert (mixed.basis, mixed.n) == (Basis.PRIOR, 0)


def test_what_is_not_named_is_the_configured_default() -> None:
    settings = load({"default_gpu_model": "Tesla T4", "default_duration": "2h"})
    found = forecast(demand(Group(None, Fraction(1), 1), declared_ns=None), "vision", (), settings)
    assert (found.basis, found.duration_ns, found.gpu_models) == (Basis.DEFAULT, 2 * HOUR, ("Tesla T4",))
    assert found.energy_mj(P90) == 70 * 7_200_000


def test_a_board_that_nobody_knows_cannot_be_predicted() -> None:
    with pytest.raises(InvalidInputError):
        forecast(demand(Group("Z9000", Fraction(1), 1)), "vision", (), load())
