"""The chart: rendered by a real helm, applied strictly, and its policies enforced with nothing of ours running."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from joulegate.core.objects import API_VERSION
from tests.budget_objects import EXAMPLE
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.programs import ROOT, Clients

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

CHART = ROOT / "helm" / "joulegate"
PEOPLE = {"jane": "joulegate-requester", "eve": "joulegate-requester", "ann": "joulegate-admin"}
RBAC = "rbac.authorization.k8s.io"


def helm(tools: Clients, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(tools.helm), *arguments], check=False, capture_output=True, text=True)


def rendered(tools: Clients, *settings: str) -> list[Object]:
    done = helm(tools, "template", "joulegate", str(CHART), "--include-crds", *settings)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="module")
def chart(api: Api, tools: Clients) -> Iterator[list[Object]]:
    """What the chart renders, applied, with people who may what its roles say."""
    objects = [*rendered(tools), *bindings()]
    for source in objects:
        api.apply(source)
    eventually(lambda: not may(api.as_user("jane"), unapproved("default", "somebody-else")), saying="policies in force")
    yield objects
    for source in objects:
        if source["kind"] != "CustomResourceDefinition":
            api.delete(source)
    eventually(lambda: may(api, unapproved("default", "somebody-else")), saying="policies gone")


def bindings() -> list[Object]:
    return [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"test-{person}"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": person, "apiGroup": RBAC}],
        }
        for person, role in PEOPLE.items()
    ] + [
        # Everything on budgets but the verb that the policy asks for.
        role("test-writer", ["budgets"], ["create", "update", "patch", "delete", "deletecollection", "get"]),
        bound("test-writer", "will"),
        # May change exceptions, may not approve.
        bound("joulegate-requester", "bob"),
    ]


def role(name: str, resources: list[str], verbs: list[str]) -> Object:
    rules = [{"apiGroups": ["joulegate.io"], "resources": resources, "verbs": verbs}]
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def bound(name: str, person: str) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"test-{person}"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "name": person, "apiGroup": RBAC}],
    }


def unapproved(namespace: str, requester: str, **changes: Any) -> Object:
    spec = {
        "budgets": ["vision"],
        "amount": {"energyKwh": "10"},
        "reason": "a deadline",
        "expiresAt": "2027-01-01T00:00:00Z",
        "requestedBy": requester,
        **changes,
    }
    metadata = {"name": "more", "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "BudgetException", "metadata": metadata, "spec": spec}


def may(person: Api, source: Object) -> bool:
    try:
        person.create(source, dryRun="All")
    except RefusedError:
        return False
    return True


def granted(api: Api, person: str, verb: str, budget: str) -> bool:
    asked = {"group": "joulegate.io", "resource": "budgets", "name": budget, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": person, "resourceAttributes": asked},
    }
    return bool(api.create(review)["status"]["allowed"])


def test_the_chart_passes_helms_own_lint(tools: Clients) -> None:
    done = helm(tools, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_a_value_that_is_not_known_is_refused(tools: Clients) -> None:
    assert "surprise" in helm(tools, "template", str(CHART), "--set", "surprise=1").stderr


def test_definitions_stay_when_the_chart_goes_unless_told_otherwise(tools: Clients) -> None:
    policy = "helm.sh/resource-policy"

    def kept(*settings: str) -> set[str | None]:
        definitions = [each for each in rendered(tools, *settings) if each["kind"] == "CustomResourceDefinition"]
        return {each["metadata"].get("annotations", {}).get(policy) for each in definitions}

    assert kept() == {"keep"}
    assert kept("--set", "crds.keep=false") == {None}
    assert kept("--set", "crds.install=false") == set()


@pytest.mark.usefixtures("chart")
class TestBudgets:
    """Who writes a budget holds the verb `override` on it."""

    def test_the_right_to_write_is_not_enough(self, api: Api) -> None:
        with pytest.raises(RefusedError, match="will may not write the budget vision: the verb override"):
            api.as_user("will").create(EXAMPLE, dryRun="All")

    def test_who_may_override_writes_and_others_neither_change_nor_delete(self, api: Api) -> None:
        made = api.as_user("ann").create(EXAMPLE)
        will = api.as_user("will")
        with pytest.raises(RefusedError, match="override"):
            will.patch(made, {"spec": {"enforcement": "Audit"}})
        with pytest.raises(RefusedError, match="override"):
            will.delete(made)
        with pytest.raises(RefusedError, match="override"):
            will.request("DELETE", api.path(API_VERSION, "Budget"))
        assert api.read(made)["spec"]["enforcement"] == "Deny"
        api.as_user("ann").delete(made)


@pytest.mark.usefixtures("chart")
class TestExceptions:
    """Asked for by one, approved by another who has the right, and then unchangeable."""

    def test_nobody_asks_in_anothers_name(self, api: Api, namespace: str) -> None:
        with pytest.raises(RefusedError, match="requestedBy is whoever asks"):
            api.as_user("eve").create(unapproved(namespace, "jane"))

    def test_nothing_is_approved_when_it_is_asked_for(self, api: Api, namespace: str) -> None:
        with pytest.raises(RefusedError, match="not approved when it is asked for"):
            api.as_user("jane").create(unapproved(namespace, "jane", approvedBy="ann"))

    def test_who_asked_does_not_approve_even_with_the_right(self, api: Api, namespace: str) -> None:
        # Of system:masters, who may approve everything.
        made = api.create(unapproved(namespace, "admin"))
        with pytest.raises(RefusedError, match="does not approve"):
            api.patch(made, {"spec": {"approvedBy": "admin"}})

    @pytest.mark.parametrize(
        ("person", "change", "named"),
        [
            ("bob", {"approvedBy": "bob"}, "the verb approve is missing"),
            ("ann", {"approvedBy": "bob"}, "approvedBy is whoever approves"),
            ("ann", {"approvedBy": "ann", "amount": {"energyKwh": "1000"}}, "changes nothing else"),
            ("ann", {"approvedBy": "ann", "ticket": "T-1"}, "changes nothing else"),
            ("eve", {"requestedBy": "eve"}, "requestedBy does not change"),
        ],
        ids=str,
    )
    def test_an_approval_that_is_not_one_is_refused(
        self, api: Api, namespace: str, person: str, change: Object, named: str
    ) -> None:
        made = api.as_user("jane").create(unapproved(namespace, "jane"))
        with pytest.raises(RefusedError, match=named):
            api.as_user(person).patch(made, {"spec": change})

    def test_another_with_the_right_approves_once(self, api: Api, namespace: str) -> None:
        made = api.as_user("jane").create(unapproved(namespace, "jane"))
        approved = api.as_user("ann").patch(made, {"spec": {"approvedBy": "ann"}})
        assert approved["spec"] == {**made["spec"], "approvedBy": "ann"}
        for change in ({"approvedBy": ""}, {"amount": {"energyKwh": "11"}}, {"expiresAt": "2028-01-01T00:00:00Z"}):
            with pytest.raises(RefusedError, match="does not change any more"):
                api.as_user("ann").patch(made, {"spec": change})

    def test_the_right_is_needed_on_each_budget(self, api: Api, namespace: str) -> None:
        limited = role("test-vision-only", ["budgets"], ["approve"])
        limited["rules"][0]["resourceNames"] = ["vision"]
        for source in (limited, bound("test-vision-only", "vic"), also(bound("joulegate-requester", "vic"))):
            api.apply(source)
        eventually(lambda: granted(api, "vic", "approve", "vision"))
        vic, jane = api.as_user("vic"), api.as_user("jane")
        both = jane.create(unapproved(namespace, "jane", budgets=["research", "vision"]))
        with pytest.raises(RefusedError, match="among research, vision"):
            vic.patch(both, {"spec": {"approvedBy": "vic"}})
        one = unapproved(namespace, "jane")
        one["metadata"]["name"] = "one"
        made = jane.create(one)
        assert vic.patch(made, {"spec": {"approvedBy": "vic"}})["spec"]["approvedBy"] == "vic"


def also(binding: Object) -> Object:
    """The same binding under a name of its own."""
    return {**binding, "metadata": {"name": f"{binding['metadata']['name']}-also"}}
