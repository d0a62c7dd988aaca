"""Eight processes, two APIs, one PostgreSQL, and no mercy: nothing is overspent, lost or held twice.

What was available at each allowance is counted again from the entries, afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from joulegate.client import Client
from joulegate.core.budgets import Limits
from joulegate.core.periods import CalendarRule, CalendarUnit
from joulegate.core.units import Unit
from joulegate_api.store import Store
from tests.api.running import token_of
from tests.api.store.examples import budget
from tests.faults.processes import Api, Senders, trouble
from tests.faults.sender import DEMAND
from tests.postgres import PostgresServer
from tests.simulation.audit import ENTRIES, Audit

DATABASE = "joulegate_test"
PROCESSES = 8
ROOM = 25
SUBMISSIONS, PASSING = 1_000, 400

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(240)]


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = Store.open(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def apis(postgres_url: str, tmp_path: Path) -> Iterator[list[Api]]:
    with ExitStack() as stack:
        started = [stack.enter_context(Api(tmp_path / f"api-{number}", postgres_url)) for number in range(2)]
        for api in started:
            api.wait()
        yield started


def rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store._database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query), {"tenant": "default"})]


def a_year_of(name: str, limit_mj: int, store: Store) -> None:
    year = CalendarRule(CalendarUnit.YEAR)  # no hold touches two periods, but on New Year's Eve
    store.budgets.put(budget(name, limits=Limits(energy_mj=limit_mj), period=year), "admin")


def quoted_mj(apis: Sequence[Api]) -> int:
    """What one request asks for."""
    body = {"resource": "jobs", "namespace": "elsewhere", "name": "probe", "demand": DEMAND}
    client = Client(apis[0].address, token_of("operator"))
    asked = client.post("/v1/holds/probe/request", body)
    assert asked["reason"] == "NoBudget"
    limited = {"apiVersion": "joulegate.io/v1alpha1", "kind": "Budget", "metadata": {"name": "probing"}}
    limited["spec"] = {"scope": {"namespaces": ["probing"]}, "period": {"unit": "Year"}, "limits": {"energyKwh": "0"}}
    Client(apis[0].address, token_of("admin")).put("/v1/budgets/probing", limited)
    verdict = client.post("/v1/holds/probe-2/request", body | {"namespace": "probing"})
    assert not verdict["allowed"]
    return int(verdict["asked"])


def audited(store: Store, limit_mj: int) -> Audit:
    assert store.trial_balance.run().differences == ()
    audit = Audit({"vision": {"mj": limit_mj}}).read(rows(store, ENTRIES))
    assert audit.faults == []
    return audit


def one_hold_each(store: Store, told: Sequence[dict[str, Any]]) -> set[str]:
    """Every answer about a root is the last word on it: one hold where it was allowed, none where not."""
    parts = Counter(row[0] for row in rows(store, "SELECT root_uid FROM holds WHERE tenant = :tenant"))
    asked = [each for each in told if each["step"] == "request"]
    allowed = {each["root"] for each in asked if each["answer"]["allowed"]}
    assert max(parts.values(), default=1) == 1
    assert allowed == {root for root in parts if not root.startswith("probe")}
    by_root: dict[str, set[str]] = {}
    for each in asked:
        if each["answer"]["allowed"]:
            by_root.setdefault(each["root"], set()).add(each["answer"]["hold"])
    assert all(len(holds) == 1 for holds in by_root.values()), "a repeat gets the same answer"
    return allowed


def test_f11_of_1000_equal_requests_exactly_as_many_pass_as_there_is_room_for(
    store: Store, apis: list[Api], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    each_mj = quoted_mj(apis)
    limit = PASSING * each_mj + each_mj // 2
    a_year_of("vision", limit, store)
    plans = [
        {
            "addresses": [api.address for api in apis],
            "namespace": "vision",
            "roots": [f"root-{number}-{more}" for more in range(SUBMISSIONS // PROCESSES)],
            "threads": 8,
            "until_s": 0,
            "ends": False,
        }
        for number in range(PROCESSES)
    ]
    with Senders(tmp_path, plans) as senders:
        troubles = trouble(senders, apis, postgres_server, DATABASE, Random(1), 1.0)  # noqa: S311 -- a test
        told = senders.answers()
    allowed = one_hold_each(store, told)
    assert len(allowed) == PASSING
    audited(store, limit)
    for api in apis:
        api.wait()
    # One of the killed connections may still lie in the pool: its answer is a 503, and a release may be sent again.
    operator = Client(apis[0].address, token_of("operator"))
    operator.post(f"/v1/holds/{min(allowed)}/release", {}, repeatable=True)
    freed = store.budgets.balance("vision").balances[Unit.MJ]
    assert freed.pending == (PASSING - 1) * each_mj, "well within 60 s of the end of its work"
    assert troubles > 0


def test_under_kills_of_apis_and_connections_nothing_is_overspent_lost_or_held_twice(
    store: Store, apis: list[Api], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    limit = ROOM * quoted_mj(apis)
    a_year_of("vision", limit, store)
    plans = [
        {
            "addresses": [api.address for api in apis],
            "namespace": "vision",
            "roots": [],
            "threads": 6,
            "until_s": 20.0,
            "ends": number % 2 == 0,
        }
        for number in range(PROCESSES)
    ]
    with Senders(tmp_path, plans) as senders:
        troubles = trouble(senders, apis, postgres_server, DATABASE, Random(2), 1.0)  # noqa: S311 -- a test
        told = senders.answers()
    allowed = one_hold_each(store, told)
    audited(store, limit)
    released = {each["root"] for each in told if each["step"] == "release"}
    states = dict(rows(store, "SELECT root_uid, state FROM holds WHERE tenant = :tenant"))
    assert {states[root] for root in released} <= {"released", "closed"}
    assert {states[root] for root in allowed - released} <= {"unconfirmed"}
    assert len(allowed) > ROOM, "what was released made room"
    assert troubles > 2, "processes and connections were killed"
