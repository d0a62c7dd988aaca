"""The operator as a process between a real API server and a real API: the end state does not depend on how it came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulegate.client import ApiError, Client
from joulegate.core.errors import UnavailableError
from joulegate.core.objects import API_VERSION
from joulegate.core.periods import format_instant
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import Clients
from tests.cluster.test_chart import bound, rendered

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

ACCOUNT = "joulegate-operator"


@dataclass(slots=True)
class World:
    """A Joulegate API and an operator, each a process that can be killed and started again."""

    plane: ControlPlane
    home: Path
    kubeconfig: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("JOULEGATE_")},
            "JOULEGATE_HOME": str(self.home),
            "JOULEGATE_KUBECONFIG": str(self.kubeconfig),
            "JOULEGATE_OPERATOR_RESYNC_S": "1",
            "JOULEGATE_OPERATOR_RELIST_S": "3",
        }

    @property
    def client(self) -> Client:
        return Client.from_home({"JOULEGATE_HOME": str(self.home)})

    def start_api(self) -> None:
        # The port of the first start stays, as a service's does.
        port = self.client.address.rpartition(":")[2] if (self.home / "address").exists() else "0"
        self._start("api", [str(Path(sys.executable).parent / "joulegate"), "up", "--port", port])
        eventually(self.answers, saying="the API is ready")

    def enroll_operator(self) -> None:
        """Give the operator a token of its own: an administrator may not ask in another's name, the operator may."""
        asked = ["token", "add", "operator", "--role", "operator", "--namespace", "*", "--json"]
        command = [str(Path(sys.executable).parent / "joulegate"), *asked]
        made = subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE)
        token = self.home / "operator-token"
        token.touch(0o600)
        token.write_text(json.loads(made.stdout)["token"])

    def start_operator(self, name: str = "operator") -> None:
        identity = {
            "JOULEGATE_ADDRESS": self.client.address,
            "JOULEGATE_TOKEN_FILE": str(self.home / "operator-token"),
        }
        self._start(name, [sys.executable, "-m", "joulegate_operators.main"], identity)

    def answers(self) -> bool:
        try:
            self.client.get("/v1/budgets")
        except (UnavailableError, ApiError):
            return False
        return True

    def _start(self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment | dict(more or {}), stdout=log, stderr=log)
        self.processes[name] = process

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> int:
        process = self.processes.pop(name)
        process.send_signal(how)
        return process.wait(timeout=20)

    def budgets(self) -> dict[str, Any]:
        return {each["metadata"]["name"]: each["spec"] for each in self.client.get("/v1/budgets")["budgets"]}


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Both processes running; the operator under an account that holds the chart's role for it and no more."""
    roles = [each for each in rendered(tools) if each["kind"] == "ClusterRole" and each["metadata"]["name"] == ACCOUNT]
    for source in (*roles, bound(ACCOUNT, ACCOUNT)):
        api.apply(source)
    home = tmp_path_factory.mktemp("operator")
    made = World(control_plane, home, control_plane.kubeconfig_of(ACCOUNT))
    try:
        made.start_api()
        made.enroll_operator()
        made.start_operator()
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)
        for kind in ("BudgetException", "Budget", "GridIntensity", "PriceBook", "Site"):
            for each in api.all(API_VERSION, kind):
                api.delete(each)


def budget(name: str, **spec: Any) -> Object:
    limits = {"energyKwh": "120", "cost": {"amount": "5", "currency": "EUR"}}
    whole = {"period": {"unit": "Month"}, "limits": limits, **spec}
    return {"apiVersion": API_VERSION, "kind": "Budget", "metadata": {"name": name}, "spec": whole}


def rates(kind: str, name: str, *rows: Object) -> Object:
    reference = {"dataset": name, "version": "1", "publisher": "p", "licence": "CC0-1.0", "source": "made up"}
    dates = {"validFrom": "2026-01-01T00:00:00Z", "validTo": "2027-01-01T00:00:00Z"}
    spec = {"reference": reference, "rows": [dates | row for row in rows]}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def site(name: str, pue: str, zone: str = "DE") -> Object:
    return rates("Site", name, {"zone": zone, "pue": pue, "pueCategory": "measured"})


def conditions(api: Api, source: Object) -> dict[str, Object]:
    """Conditions by type, of the present generation only."""
    now = api.read(source)
    told = now.get("status", {}).get("conditions", [])
    return {each["type"]: each for each in told if each["observedGeneration"] == now["metadata"]["generation"]}


def settled(api: Api, source: Object, status: str = "True") -> Object:
    """The condition Ready once it is `status` for the present generation; a budget in force is enforced by then."""

    def found() -> Object:
        told = conditions(api, source)
        waits = told.get("Enforced", {}).get("status") == "False"
        return told.get("Ready", {}) if told.get("Ready", {}).get("status") == status and not waits else {}

    return eventually(found, saying=f"{source['metadata']['name']} is Ready={status}")


def test_a_budget_reaches_the_api_and_its_balance_comes_back(api: Api, world: World) -> None:
    made = api.apply(budget("vision"))
    assert settled(api, made)["reason"] == "Accepted"
    assert world.budgets()["vision"]["limits"] == made["spec"]["limits"]
    now = api.read(made)
    balances = {each["unit"]: each for each in now["status"]["balances"]}
    assert balances.keys() == {"mj", "micros"}
    assert (balances["mj"]["limit"], balances["mj"]["available"]) == ("432000000000", "432000000000")
    assert (balances["micros"]["limit"], balances["micros"]["currency"]) == ("5000000", "EUR")
    assert conditions(api, made)["Exhausted"]["status"] == "False"
    assert now["status"]["period"]["start"] < now["status"]["period"]["end"]


def test_nothing_hangs_on_the_operator_when_an_object_is_deleted(api: Api, world: World) -> None:
    made = api.apply(budget("brief"))
    settled(api, made)
    assert "finalizers" not in api.read(made)["metadata"]
    api.delete(made)
    assert not api.exists(made)
    eventually(lambda: "brief" not in world.budgets())


def test_a_change_is_taken_over(api: Api, world: World) -> None:
    made = api.apply(budget("changing"))
    settled(api, made)
    after = api.patch(made, {"spec": {"limits": {"energyKwh": "1"}, "enforcement": "Warn"}})
    settled(api, after)
    assert (world.budgets()["changing"]["limits"]["energyKwh"], world.budgets()["changing"]["enforcement"]) == (
        "1",
        "Warn",
    )


def test_a_limit_of_nothing_is_exhausted(api: Api, world: World) -> None:
    made = api.apply(budget("nothing", limits={"energyKwh": "0"}))
    settled(api, made)
    assert conditions(api, made)["Exhausted"] == {
        **conditions(api, made)["Exhausted"],
        "status": "True",
        "message": "nothing is left of energy",
    }


def test_what_the_schema_cannot_say_becomes_a_condition(api: Api, world: World) -> None:
    made = api.apply(budget("long", horizon="9999d"))
    told = settled(api, made, "False")
    assert (told["reason"], "spec.horizon" in told["message"]) == ("Invalid", True)
    assert "long" not in world.budgets()
    settled(api, api.patch(made, {"spec": {"horizon": "1d"}}))


def test_what_the_api_refuses_becomes_a_condition_and_heals(api: Api, world: World) -> None:
    child = api.apply(budget("child", parent="late-parent"))
    assert settled(api, child, "False")["reason"] == "Refused"
    api.apply(budget("late-parent"))
    settled(api, child)
    assert world.budgets()["child"]["parent"] == "late-parent"


def test_a_span_that_is_not_now_has_no_balance_and_says_so(api: Api, world: World) -> None:
    span = {"start": "2020-01-01T00:00:00Z", "end": "2020-02-01T00:00:00Z"}
    made = api.apply(budget("past", period=span))
    assert settled(api, made)["reason"] == "OutsidePeriod"
    assert "balances" not in api.read(made)["status"]


def test_only_the_clusters_budgets_are_open(api: Api, world: World) -> None:
    api.apply(budget("vision"))
    world.client.put("/v1/budgets/by-hand", budget("by-hand"))
    eventually(lambda: "by-hand" not in world.budgets())
    assert "vision" in world.budgets()


def test_what_changed_while_the_operator_was_dead_is_caught_up(api: Api, world: World) -> None:
    kept, gone = api.apply(budget("kept")), api.apply(budget("gone"))
    settled(api, kept)
    settled(api, gone)
    world.kill("operator")
    api.delete(gone)
    changed = api.patch(kept, {"spec": {"limits": {"energyKwh": "7"}}})
    new = api.apply(budget("new"))
    world.start_operator()
    settled(api, changed)
    settled(api, new)
    eventually(lambda: "gone" not in world.budgets())
    assert world.budgets()["kept"]["limits"]["energyKwh"] == "7"


def test_while_the_api_is_gone_nothing_is_said_that_is_not_known(api: Api, world: World) -> None:
    made = api.apply(budget("steady"))
    before = settled(api, made)
    world.kill("api", signal.SIGTERM)
    changed = api.patch(made, {"spec": {"limits": {"energyKwh": "9"}}})
    stale = api.read(made)["status"]["conditions"]
    assert {each["observedGeneration"] for each in stale} == {changed["metadata"]["generation"] - 1}
    world.start_api()
    after = settled(api, changed)
    assert after["lastTransitionTime"] == before["lastTransitionTime"]
    assert world.budgets()["steady"]["limits"]["energyKwh"] == "9"


def test_two_operators_at_once_change_nothing_in_the_end_state(api: Api, world: World) -> None:
    world.start_operator("second")
    sources = [api.apply(budget(f"twice-{number}")) for number in range(10)]
    for source in sources:
        settled(api, source)
    world.kill("second")
    for source in sources:
        api.delete(source)
    eventually(lambda: not [name for name in world.budgets() if name.startswith("twice-")])
    assert "vision" in world.budgets()


def test_rates_reach_the_api_and_rows_that_change_are_added(api: Api, world: World) -> None:
    made = api.apply(site("oslo", "1.15", "NO"))
    assert settled(api, made)["reason"] == "Accepted"
    what = {"basis": "location", "boundary": "lifecycle", "mix": "consumption", "signal": "average", "gwp": "AR5"}
    settled(api, api.apply(rates("GridIntensity", "norway", what | {"zone": "NO", "gPerKwh": "27.5"})))
    settled(api, api.apply(rates("PriceBook", "power", {"rule": "electricity", "currency": "EUR", "amount": "0.20"})))
    assert [row["ug_per_kwh"] for row in world.client.get("/v1/factors")["rows"]] == ["27500000"]
    assert [row["micros_per_unit"] for row in world.client.get("/v1/prices")["rows"]] == ["200000"]
    told = settled(api, api.apply(site("oslo", "1.20", "NO")), "False")
    assert (told["reason"], "a correction needs a new version" in told["message"]) == ("Refused", True), told
    corrected = site("oslo", "1.20", "NO")
    corrected["spec"]["reference"]["version"] = "2"
    settled(api, api.apply(corrected))
    assert sorted(row["pue_ppm"] for row in world.client.get("/v1/sites")["rows"]) == [1_150_000, 1_200_000]


def test_a_row_that_the_api_refuses_is_a_condition_with_its_place(api: Api, world: World) -> None:
    told = settled(api, api.apply(site("bell", "1.1", "D\a")), "False")
    assert (told["reason"], "rows.0.zone" in told["message"]) == ("Refused", True), told


def test_an_exception_gives_room_once_it_is_approved(api: Api, world: World) -> None:
    settled(api, api.apply(budget("vision", scope={"namespaces": ["default"]}, limits={"energyKwh": "120"})))
    spec = {"budgets": ["vision"], "amount": {"energyKwh": "10"}, "reason": "a paper", "requestedBy": "ana"}
    until = format_instant(datetime.now(UTC) + timedelta(days=1))
    metadata = {"name": "more", "namespace": "default"}
    asked = {"apiVersion": API_VERSION, "kind": "BudgetException", "metadata": metadata}
    made = api.apply(asked | {"spec": spec | {"expiresAt": until}})
    assert settled(api, made, "False")["reason"] == "AwaitingApproval"
    assert world.client.get("/v1/budgets/vision/balance")["energy"]["exceptions"] == "0"
    approved = api.patch(made, {"spec": {"approvedBy": "bo"}})
    assert settled(api, approved)["message"].startswith("by bo, until ")
    balance = world.client.get("/v1/budgets/vision/balance")["energy"]
    assert (balance["exceptions"], balance["limit"]) == ("36000000000", "468000000000")
    world.kill("operator")
    world.start_operator()
    settled(api, api.apply(budget("after-the-restart")))
    assert world.client.get("/v1/budgets/vision/balance")["energy"] == balance


def test_an_exception_that_cannot_be_is_a_condition(api: Api, world: World) -> None:
    metadata = {"name": "elsewhere", "namespace": "default"}
    spec = {"budgets": ["nobody-knows-it"], "amount": {"energyKwh": "10"}, "reason": "a paper", "requestedBy": "ana"}
    until = format_instant(datetime.now(UTC) + timedelta(days=1))
    source = {"apiVersion": API_VERSION, "kind": "BudgetException", "metadata": metadata}
    told = settled(api, api.apply(source | {"spec": spec | {"expiresAt": until}}), "False")
    assert (told["reason"], "nobody-knows-it" in told["message"]) == ("Refused", True)
    past = {"metadata": metadata | {"name": "past"}, "spec": spec | {"expiresAt": "2020-01-01T00:00:00Z"}}
    assert settled(api, api.apply(source | past), "False")["reason"] == "Expired"


def test_the_operator_may_write_status_and_nothing_else(api: Api, world: World) -> None:
    made = api.apply(budget("vision"))
    operator = api.as_user(ACCOUNT)
    with pytest.raises(RefusedError, match="cannot patch"):
        operator.patch(made, {"spec": {"enforcement": "Audit"}})
    with pytest.raises(RefusedError, match="cannot delete"):
        operator.delete(made)
    with pytest.raises(RefusedError, match="cannot list"):
        operator.all("v1", "Secret")


def test_the_operator_ends_in_order_when_it_is_told_to(world: World) -> None:
    assert world.kill("operator", signal.SIGTERM) == 0
    world.start_operator()


def test_the_example_of_the_documentation_is_taken(api: Api, world: World) -> None:
    source = deepcopy(yaml.safe_load((Path(__file__).parents[2] / "docs" / "demo" / "budget.yaml").read_text()))
    settled(api, api.apply(source))
