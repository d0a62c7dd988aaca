"""Embodied emissions: a range with named sources, apart, and nothing for what nobody counted."""

from __future__ import annotations

import pytest

from joulegate.core.embodied import embodied_of, figures_for
from joulegate.core.units import NS_PER_HOUR, UG_PER_KG
from joulegate.packs import embodied_figures
from tests.plugin.core.audited import fact, record

FIVE_YEARS_NS = 5 * 8_760 * NS_PER_HOUR


@pytest.mark.parametrize(
    ("model", "low", "high", "count"),
    [
        ("NVIDIA A100-SXM4-80GB", "127.6", "568", 2),
        ("NVIDIA H100 80GB HBM3", "164", "575", 2),
        ("Tesla T4", "131", "131", 1),
    ],
)
def test_the_range_is_between_sources_that_differ(model: str, low: str, high: str, count: int) -> None:
    found = figures_for(model, embodied_figures())
    assert (found[0].ug, found[-1].ug) == (round(float(low) * UG_PER_KG), round(float(high) * UG_PER_KG))
    assert len({figure.publisher for figure in found}) == len(found) == count


@pytest.mark.parametrize("model", ["NVIDIA A10G", "Tesla V100-SXM2-16GB", "NVIDIA L40S", "MI300X"])
def test_nothing_stands_in_for_a_board_that_nobody_counted(model: str) -> None:
    assert figures_for(model, embodied_figures()) == ()


def test_time_takes_its_share_of_the_life_that_somebody_told() -> None:
    slices = fact(record("a", [1_000_000, None])).slices
    (told,) = embodied_of(slices, embodied_figures(), FIVE_YEARS_NS)
    assert (told.gpu_model, told.gpu_ns) == ("NVIDIA A100", NS_PER_HOUR // 2)
    assert told.low_share_ug == round(127.6 * UG_PER_KG / (5 * 8_760 * 2))
    assert told.high_share_ug == round(568 * UG_PER_KG / (5 * 8_760 * 2))
    (untold,) = embodied_of(slices, embodied_figures(), None)
    assert (untold.low_share_ug, untold.high_share_ug) == (None, None), "no life is assumed"
    assert untold.low_ug == told.low_ug


def test_every_figure_names_who_says_what() -> None:
    for figure in embodied_figures():
        assert all((figure.product, figure.scope, figure.publisher, figure.source, figure.licence))
        assert figure.ug > 0
