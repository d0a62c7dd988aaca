"""CronJob and JobSet: what runs now, what runs later, and what runs side by side."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.workloads import Unresolved, demand_of, is_generator
from tests.plugin.core.workloads.manifests import HOUR, cron_job, job, job_set


def test_a_cron_job_runs_nothing_itself() -> None:
    demand = demand_of(cron_job(2, parallelism=3))
    assert demand.suspended
    assert demand.accelerators == 6
    assert is_generator("CronJob")
    assert not is_generator("Job")


def test_a_job_set_asks_for_all_of_its_jobs() -> None:
    jobs = job_set((1, job(None)), (2, job(4, parallelism=3)), (1, job(1)))
    assert demand_of(jobs).accelerators == 25
    assert not demand_of(jobs).open_ended


def test_a_job_set_runs_unless_it_is_suspended_itself() -> None:
    assert demand_of(job_set((1, job(1)), suspend=True)).suspended
    inner = demand_of(job_set((1, job(1, suspend=True))))
    assert (inner.suspended, inner.accelerators) == (False, Fraction(1))
    assert demand_of(job_set((0, job(1)))).groups == ()
    assert demand_of(job_set()).groups == ()


def test_the_deadline_of_a_job_set_is_the_longest_where_each_job_with_accelerators_has_one() -> None:
    limited, longer = job(1, activeDeadlineSeconds=3_600), job(1, activeDeadlineSeconds=7_200)
    assert demand_of(job_set((1, limited), (1, longer), (1, job(None)))).deadline_ns == 2 * HOUR
    assert demand_of(job_set((1, limited), (1, job(1)))).deadline_ns is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 8), st.integers(1, 9)), min_size=1, max_size=4), st.data())
def test_more_replicas_of_a_job_set_never_ask_for_less(parts: list[tuple[int, int, int]], data: st.DataObject) -> None:
    grown = data.draw(st.integers(0, len(parts) - 1))
    small = job_set(*((replicas, job(gpus, parallelism=many)) for replicas, gpus, many in parts))
    large = job_set(
        *((replicas + (n == grown), job(gpus, parallelism=many)) for n, (replicas, gpus, many) in enumerate(parts))
    )
    assert demand_of(small).within(demand_of(large))


def test_a_job_set_beyond_every_cluster_is_unresolved() -> None:
    with pytest.raises(Unresolved, match="more than 100000 accelerators"):
        demand_of(job_set((50_000, job(8))))
