"""A real CronJob whose Jobs choose a budget: its author is asked, and what the controller makes gets it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from joulegate.core.periods import format_instant
from tests.cluster.admitting import Admitting, admitting
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, HOUR, pod_spec, work
from tests.cluster.test_chart import RBAC, bound
from tests.cluster.test_operator import budget

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def gate(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Admitting]:
    editors = bound("edit", "alice")
    api.apply(editors)
    with (
        joined(control_plane, api, "generators-0", 8, {"nvidia.com/gpu.product": A100}),
        admitting(control_plane, api, tools, tmp_path_factory.mktemp("generators")) as made,
    ):
        yield made
    api.delete(editors)


def let_use(api: Api, user: str, name: str) -> None:
    """The right to choose a budget, as RBAC gives it."""
    rule = {"apiGroups": ["joulegate.io"], "resources": ["budgets"], "resourceNames": [name], "verbs": ["use"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": f"use-{name}"}, "rules": [rule]}
    api.apply(role)
    binding = bound(f"use-{name}", user)
    api.apply(binding | {"metadata": {"name": f"use-{name}"}})


def cron_job(namespace: str, chosen: str) -> Object:
    template = {
        "metadata": {"annotations": HOUR | {"joulegate.io/budget": chosen}},
        "spec": {"template": {"spec": pod_spec()}},
    }
    return work("CronJob", namespace, {"schedule": "0 0 1 1 *", "jobTemplate": template}, "nightly")


def jobs_of(api: Api, namespace: str) -> list[Object]:
    return api.all("batch/v1", "Job", namespace)


def test_the_jobs_of_a_cron_job_are_held_in_the_budget_that_its_author_may_use(
    api: Api, gate: Admitting, namespace: str
) -> None:
    alice = api.as_user("alice", "system:authenticated")
    rich, usual = f"{namespace}-rich", f"{namespace}-usual"
    for name, more in ((rich, {}), (usual, {"default": True, "limits": {"energyKwh": "0"}})):
        spec = {"scope": {"namespaces": [namespace]}, "period": {"unit": "Year"}, "limits": {"energyKwh": "1"}}
        gate.client.put(f"/v1/budgets/{name}", budget(name, **{**spec, "selectable": True, **more}))
    with pytest.raises(RefusedError, match=f"alice may not use budget {rich}"):
        alice.create(cron_job(namespace, rich))
    let_use(api, "alice", rich)
    made = eventually(lambda: created(alice, cron_job(namespace, rich)), saying="the right is known")
    # The controller believes that a run was missed since, and makes it at once.
    missed = format_instant((datetime.now(UTC) - timedelta(days=400)).replace(microsecond=0))
    api.patch(made, {"status": {"lastScheduleTime": missed}}, "status")
    (child,) = eventually(lambda: jobs_of(api, namespace), saying="the controller made a Job")
    assert child["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert child["metadata"]["annotations"]["joulegate.io/budget"] == rich
    assert (gate.pending(rich), gate.pending(usual)) == (BOARD_HOUR_MJ, 0)


def created(user: Api, source: Object) -> Object:
    """The object, once RBAC has heard of the right; empty until then."""
    try:
        return user.create(source)
    except RefusedError as refused:
        if "may not use budget" in str(refused):
            return {}
        raise
