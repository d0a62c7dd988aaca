"""Predictions: the firmest basis there is, honest quantiles, and no invented power."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.accelerators import canonical_model, mig_fraction, nameplate
from joulegate.core.errors import InvalidInputError
from joulegate.core.prediction import Basis, PastRun, Query, predict
from joulegate.core.units import NS_PER_HOUR, Power

A100 = "NVIDIA-A100-SXM4-80GB"


def past(energy_mj: int, *, model: str = "resnet", gpu_model: str = "NVIDIA A100-SXM4-80GB", hours: int = 1) -> PastRun:
    return PastRun("vision", model, "training", gpu_model, Fraction(1), hours * NS_PER_HOUR, energy_mj)


def query(declared_h: int | None = 2, *, model: str | None = "resnet", gpus: int = 1, gpu_model: str = A100) -> Query:
    declared = None if declared_h is None else declared_h * NS_PER_HOUR
    return Query("vision", model, "training", gpu_model, True, Fraction(gpus), declared, None, 4 * NS_PER_HOUR)  # noqa: FBT003 - a known board


def test_own_history_is_used_first_then_neighbours_then_the_nameplate() -> None:
    own, other = past(900_000_000), past(700_000_000, model="vit")
    assert predict([own, other], query()).basis is Basis.HISTORY
    assert predict([other], query()).basis is Basis.NEIGHBOURS
    assert predict([], query()).basis is Basis.PRIOR
    assert predict([past(900_000_000, gpu_model="NVIDIA H100 PCIe")], query()).basis is Basis.PRIOR


def test_without_history_the_upper_quantile_is_the_nameplate_for_the_whole_time() -> None:
    prediction = predict([], query(declared_h=2, gpus=8))
    assert prediction.p90_mj == 8 * 2 * 400 * 3_600 * 1_000
    assert prediction.n == 0


def test_a_time_that_nobody_named_makes_the_basis_a_default() -> None:
    assert predict([], query(declared_h=None)).basis is Basis.DEFAULT


def test_a_declared_time_is_never_below_the_median_of_history() -> None:
    long_runs = [past(3_600_000_000, hours=10) for _ in range(5)]
    assert predict(long_runs, query(declared_h=1)).duration_ns == pytest.approx(10 * NS_PER_HOUR, rel=1e-9)
    assert predict(long_runs, query(declared_h=20)).duration_ns == 20 * NS_PER_HOUR


def test_history_without_a_declared_time_is_scaled_by_accelerators() -> None:
    runs = [past(1_000_000) for _ in range(4)]
    one, four = predict(runs, query(declared_h=None)), predict(runs, query(declared_h=None, gpus=4))
    assert four.p50_mj == pytest.approx(4 * one.p50_mj, rel=1e-6)


@given(st.lists(st.integers(1, 10**10), min_size=0, max_size=12), st.integers(1, 64), st.none() | st.integers(1, 100))
def test_quantiles_are_ordered_and_positive(energies: list[int], gpus: int, declared_h: int | None) -> None:
    prediction = predict([past(energy) for energy in energies], query(declared_h, gpus=gpus))
    assert (
        0 < prediction.p50_mj <= prediction.at(Fraction(3, 4)) <= prediction.p90_mj <= prediction.at(Fraction(99, 100))
    )


@pytest.mark.parametrize("seen", [3, 5, 10, 30])
def test_nine_in_ten_runs_stay_below_the_upper_quantile(seen: int) -> None:
    rng, below, trials = random.Random(seen), 0, 2_000  # noqa: S311 - a simulation, not a secret
    for _ in range(trials):
        *history, actual = (round(math.exp(rng.gauss(20, 0.3))) for _ in range(seen + 1))
        below += actual <= predict([past(energy) for energy in history], query(declared_h=None)).p90_mj
    assert 0.87 <= below / trials <= 0.95


def test_law_2_an_unknown_board_that_was_never_measured_has_no_prediction() -> None:
    with pytest.raises(InvalidInputError, match="not known"):
        predict([], query(gpu_model="Homebrew 9000"))
    assert predict([past(5_000_000, gpu_model="homebrew-9000")], query(gpu_model="Homebrew 9000")).n == 1


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("NVIDIA-A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA-A100-SXM4-80GB-SHARED", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA A100-SXM4-40GB"),
        ("Tesla-V100-SXM2-16GB", "Tesla V100-SXM2-16GB"),
        ("NVIDIA-GeForce-RTX-3090", "NVIDIA GeForce RTX 3090"),
    ],
)
def test_a_node_label_and_the_name_from_nvml_are_one_board(label: str, name: str) -> None:
    assert canonical_model(label) == canonical_model(name)


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("NVIDIA-A100-PCIE-40GB", 250),
        ("NVIDIA A100 80GB PCIe", 300),
        ("NVIDIA-H100-80GB-HBM3", 700),
        ("NVIDIA-H100-PCIe", 350),
        ("NVIDIA L4", 72),
        ("NVIDIA L40S", 350),
        ("Tesla T4", 70),
        ("NVIDIA A10G", 300),
        ("NVIDIA GeForce RTX 3090 Ti", 450),
        ("NVIDIA H200", 700),
    ],
)
def test_nameplates_are_told_apart(name: str, watts: int) -> None:
    assert nameplate(name) == Power(watts * 1_000)


def test_a_mig_profile_is_a_share_of_its_board() -> None:
    assert mig_fraction("1g.10gb") == Fraction(1, 7)
    assert mig_fraction("7g.80gb") == 1
    assert mig_fraction("gpu") is None
