"""Which budget the Jobs of a CronJob may choose: the one that its author was let choose when it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from joulegate_api.store import Store
from tests.api.admission.test_in_cluster import CHOICE, HOUR, bind, boards, cluster, decide, owned_by, whole
from tests.api.cluster_double import FakeCluster
from tests.api.running import Service, review

__all__ = ["cluster"]

CRON = "system:serviceaccount:kube-system:cronjob-controller"
CHOSEN = HOUR | {"joulegate.io/budget": "rich"}


@pytest.fixture
def inside(sqlite_url: str, cluster: FakeCluster, tmp_path: Path) -> Iterator[Service]:
    """A service with two budgets to choose from; the default has room for nothing."""
    store = Store.open(sqlite_url)
    with cluster.serving() as address:
        made = Service(store, tmp_path, kube_api=address)
        bind(made, "rich", **CHOICE)
        bind(made, "usual", **CHOICE, default=True, limits={"energyKwh": "0"})
        yield made
        assert made.context.cluster is not None
        made.context.cluster.close()
    store.close()


def cron_job(chosen: Mapping[str, str] = CHOSEN, *, suspend: bool = False, **metadata: Any) -> dict[str, Any]:
    inner = {"template": {"spec": boards()}}
    template = {"metadata": {"annotations": dict(chosen)}, "spec": inner}
    return whole(
        "batch/v1", "CronJob", "nightly", {"schedule": "0 3 * * *", "suspend": suspend, "jobTemplate": template}
    ) | ({"metadata": {"name": "nightly", "namespace": "vision", "uid": "nightly", **metadata}} if metadata else {})


def made_by(generator: Mapping[str, Any], uid: str = "night-1", budget: str = "rich", **spec: Any) -> dict[str, Any]:
    annotations = HOUR | {"joulegate.io/budget": budget}
    inner = {"template": {"spec": boards()}, **spec}
    return whole("batch/v1", "Job", uid, inner, annotations=annotations, ownerReferences=owned_by(generator))


def may_use(cluster: FakeCluster, user: str = "alice", budget: str = "rich") -> None:
    cluster.rights.add((user, "use", "budgets", budget))


def test_who_may_not_use_a_budget_makes_no_generator_that_chooses_it(inside: Service) -> None:
    told = decide(inside, cron_job(), "cronjobs.batch")
    assert (told["allowed"], told["reason"], told["budget"]) == (False, "NotPermitted", "rich")


def test_what_a_generator_makes_gets_the_budget_that_its_author_was_let_choose(
    inside: Service, cluster: FakeCluster
) -> None:
    may_use(cluster)
    assert decide(inside, cron_job(), "cronjobs.batch")["reason"] == "HeldLater"
    cluster.rights.clear()
    told = decide(inside, made_by(cron_job()), "jobs.batch", user=CRON)
    assert (told["allowed"], told["budget"], told["warnings"]) == (True, "rich", [])


def test_the_right_of_the_controller_itself_counts_for_nothing_less(inside: Service, cluster: FakeCluster) -> None:
    """A generator that nobody was asked about (it came while no webhook answered) chooses nothing for what it makes."""
    told = decide(inside, made_by(cron_job()), "jobs.batch", user=CRON)
    assert (told["allowed"], told["budget"]) == (False, "usual")
    assert "rich cannot be chosen here" in told["warnings"][0]
    may_use(cluster)
    assert decide(inside, cron_job(), "cronjobs.batch", operation="UPDATE", oldObject=cron_job(suspend=True))["allowed"]
    assert decide(inside, made_by(cron_job(), "night-2"), "jobs.batch", user=CRON)["budget"] == "rich"


def test_somebody_without_the_right_may_change_everything_else_of_a_generator(inside: Service) -> None:
    told = decide(
        inside, cron_job(), "cronjobs.batch", operation="UPDATE", oldObject=cron_job(suspend=True), user="bob"
    )
    assert told["allowed"]
    assert decide(inside, made_by(cron_job()), "jobs.batch", user=CRON)["budget"] == "usual"


def test_the_choice_of_a_generator_does_not_change(inside: Service, cluster: FakeCluster) -> None:
    may_use(cluster)
    told = decide(inside, cron_job(), "cronjobs.batch", operation="UPDATE", oldObject=cron_job(HOUR))
    assert (told["allowed"], told["reason"]) == (False, "NotPermitted")


def test_a_child_that_chooses_another_budget_than_its_generator_asks_for_its_own_right(
    inside: Service, cluster: FakeCluster
) -> None:
    bind(inside, "other", **CHOICE)
    may_use(cluster)
    decide(inside, cron_job(), "cronjobs.batch")
    assert decide(inside, made_by(cron_job(), budget="other"), "jobs.batch", user=CRON)["budget"] == "usual"


def test_who_says_that_a_generator_owns_his_job_gains_nothing(inside: Service, cluster: FakeCluster) -> None:
    may_use(cluster)
    decide(inside, cron_job(), "cronjobs.batch")
    assert decide(inside, made_by(cron_job()), "jobs.batch", user="bob")["budget"] == "usual"


def test_a_suspended_child_may_wait_for_the_budget_of_its_generator(inside: Service, cluster: FakeCluster) -> None:
    may_use(cluster)
    decide(inside, cron_job(), "cronjobs.batch")
    assert decide(inside, made_by(cron_job(), suspend=True), "jobs.batch", user=CRON)["reason"] == "HeldLater"


def test_a_child_of_a_generator_is_gated_by_the_budget_that_the_generator_chose(
    inside: Service, cluster: FakeCluster
) -> None:
    bind(inside, "rich", **CHOICE, enforcement="Queue")
    may_use(cluster)
    decide(inside, cron_job(), "cronjobs.batch")
    body = review(made_by(cron_job()), userInfo={"username": CRON})
    assert "patch" in inside.post("/v1/admission/mutate", body).json()["response"]


def test_a_dry_run_grants_nothing(inside: Service, cluster: FakeCluster) -> None:
    may_use(cluster)
    decide(inside, cron_job(), "cronjobs.batch", dryRun=True)
    assert decide(inside, made_by(cron_job()), "jobs.batch", user=CRON)["budget"] == "usual"


def test_a_choice_that_nothing_hands_on_is_said_to_be_unheard(inside: Service) -> None:
    told = decide(inside, cron_job(HOUR, annotations=CHOSEN), "cronjobs.batch")
    assert told["allowed"]
    assert told["warnings"] == [
        "joulegate.io/budget goes into metadata.annotations of spec.jobTemplate; here nothing reads it"
    ]
