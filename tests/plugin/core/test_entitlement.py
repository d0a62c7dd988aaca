"""Replacements pass, growth does not, whatever the order in which pods come and go."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.entitlement import entitled, growth
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group

BOARDS = st.integers(1, 4)


def demand(boards: int | Fraction, replicas: int = 1, model: str | None = "A100") -> Demand:
    return Demand(Kind.TRAINING, (Group(model, Fraction(boards), replicas),))


@given(boards=BOARDS, replicas=st.integers(1, 8), gone=st.integers(0, 7))
def test_a_replacement_passes_and_one_more_is_growth(boards: int, replicas: int, gone: int) -> None:
    held = [demand(boards, replicas)]
    live = [demand(boards)] * (replicas - 1 - gone % replicas)
    assert growth(held, live, demand(boards)) is None
    full = [demand(boards)] * replicas
    grown = growth(held, full, demand(boards))
    assert grown is not None
    assert grown.accelerators == boards * (replicas + 1)
    assert growth(held, full, demand(boards), surge=1) is None
    assert growth([grown], full, demand(boards)) is None


def test_models_are_weighed_apart() -> None:
    held = [Demand(Kind.TRAINING, (Group("A100", Fraction(1), 2), Group("H100", Fraction(1), 1)))]
    assert growth(held, [demand(1, model="H100")], demand(1)) is None
    grown = growth(held, [demand(1, model="H100")], demand(1, model="H100"))
    assert grown is not None
    assert grown.by_model() == demand(2).by_model() | demand(2, model="H100").by_model()


def test_the_largest_part_counts_model_by_model() -> None:
    assert sum(entitled([demand(1, 2), demand(1, 3), demand(1, 1)]).values()) == 3


def test_a_slice_of_a_board_is_its_share() -> None:
    held = [demand(Fraction(3, 7), 2)]
    assert growth(held, [demand(Fraction(3, 7))], demand(Fraction(3, 7))) is None
    assert growth(held, [demand(Fraction(3, 7))], demand(Fraction(4, 7))) is not None
