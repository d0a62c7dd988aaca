"""Whatever the network and sudden ends do, the ledger comes to what truly happened, and nothing is overspent.

A failing seed names itself; `python -m tests.simulation --seed N` and `pytest tests/simulation --sim-seed N`
do it again. More seeds: `python -m tests.simulation --seeds 10000`, `pytest tests/simulation --sim-seeds 10000`.
"""

from __future__ import annotations

import pytest

from tests.simulation.checks import COMPARED, check_seed
from tests.simulation.server import House

CI_SEEDS = 500
SHARES = 4
"""The seeds of CI are shared among so many tests, so that workers can share them."""


def run(seeds: range, house: House, *, compare: bool = False) -> None:
    for seed in seeds:
        try:
            check_seed(seed, house, compare=compare or seed % COMPARED == 0)
        except Exception as error:
            message = f"seed {seed} failed; again: pytest tests/simulation --sim-seed {seed}"
            raise AssertionError(message) from error


def test_a_world_over_a_bad_network_ends_like_one_over_a_perfect_network(
    request: pytest.FixtureRequest, house: House
) -> None:
    chosen: int | None = request.config.getoption("--sim-seed")
    run(range(3) if chosen is None else range(chosen, chosen + 1), house, compare=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("share", range(SHARES))
def test_many_worlds_keep_law_6_and_law_7(request: pytest.FixtureRequest, house: House, share: int) -> None:
    seeds = request.config.getoption("--sim-seeds") or CI_SEEDS
    run(range(share * seeds // SHARES, (share + 1) * seeds // SHARES), house)


@pytest.mark.postgres
@pytest.mark.timeout(180)
def test_some_worlds_end_alike_on_postgresql(postgres_house: House) -> None:
    run(range(1_000_000, 1_000_020), postgres_house)


def test_the_same_seed_does_the_same(house: House) -> None:
    first, again = (check_seed(7, house, compare=False) for _ in range(2))
    assert [(done.at, done.call.path, done.reply.status) for done in first.server.done] == [
        (done.at, done.call.path, done.reply.status) for done in again.server.done
    ]
