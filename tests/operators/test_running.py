"""Who is suspended when a budget is exhausted: what its author marked, and serving only where all are."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from joulegate.core.budgets import OnExhausted
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group
from joulegate_operators.running import may_suspend
from joulegate_operators.seen import RESOURCES, Workload

BY_KIND = {resource.kind: resource for resource in RESOURCES}


def running(kind: str, *, open_ended: bool = False, **marks: str) -> Workload:
    demand = Demand(Kind.TRAINING, (Group("H100", Fraction(1), 1),), open_ended=open_ended)
    said = {f"joulegate.io/{key}": text for key, text in marks.items()}
    return Workload("uid", "lab", "work", None, demand, resource=BY_KIND[kind], marks=said)


@pytest.mark.parametrize("kind", ["Job", "JobSet", "TrainJob", "Workflow"])
def test_what_its_author_marked_is_suspended_where_the_budget_says_so(kind: str) -> None:
    assert may_suspend(running(kind, suspendable="true"), OnExhausted.SUSPEND)
    assert may_suspend(running(kind, suspendable="true"), OnExhausted.SUSPEND_ALL)
    assert not may_suspend(running(kind, suspendable="true"), OnExhausted.CONTINUE)
    assert not may_suspend(running(kind), OnExhausted.SUSPEND_ALL)
    assert not may_suspend(running(kind, suspendable="yes"), OnExhausted.SUSPEND_ALL)


def test_what_kueue_manages_is_left_to_kueue() -> None:
    managed = replace(running("Job", suspendable="true"), queued=True)
    assert not may_suspend(managed, OnExhausted.SUSPEND_ALL)


def test_serving_is_suspended_only_where_all_is() -> None:
    serving = running("InferenceService", open_ended=True, suspendable="true")
    assert not may_suspend(serving, OnExhausted.SUSPEND)
    assert may_suspend(serving, OnExhausted.SUSPEND_ALL)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_what_has_no_switch_is_left(kind: str) -> None:
    assert not may_suspend(running(kind, open_ended=True, suspendable="true"), OnExhausted.SUSPEND_ALL)
