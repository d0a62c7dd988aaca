"""What is done by the clock: again and again, by several replicas at once, whatever fails."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from joulegate.core.errors import UnavailableError
from joulegate.core.objects import budget_from_object
from joulegate.core.units import Unit
from joulegate_api.metrics import Metrics
from joulegate_api.store import Amounts, BudgetException, Store
from joulegate_api.timers import Job, check_balances, close_periods, jobs, run_once, running
from tests.api.running import Service, budget, record
from tests.api.test_metrics import values_of

KWH = 3_600_000_000
DELAY = timedelta(days=4)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 10, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def put(store: Store, name: str = "vision", **spec: Any) -> None:
    store.budgets.put(budget_from_object(budget(name, period={"unit": "Month"}, **spec)), "alice")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dated(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    yield opened
    opened.close()


def carried(store: Store, at: datetime, name: str = "vision") -> int:
    return store.budgets.balance(name, at).balances[Unit.MJ].carried


def test_what_was_not_used_is_carried_on_after_the_delay_and_once(dated: Store, clock: Clock) -> None:
    put(dated, carryOver="Unused")
    clock.now = datetime(2026, 11, 4, 23, 59, tzinfo=UTC)
    assert close_periods(dated, DELAY) == 0
    clock.now = datetime(2026, 11, 5, tzinfo=UTC)
    assert close_periods(dated, DELAY) == 1
    assert carried(dated, clock.now) == 10 * KWH
    assert close_periods(dated, DELAY) == 0
    clock.now = datetime(2027, 1, 5, tzinfo=UTC)
    assert close_periods(dated, DELAY) == 2, "November and December, in this order"
    assert carried(dated, clock.now) == 30 * KWH
    assert dated.trial_balance.run().differences == ()


def test_a_period_before_the_budget_was_written_gives_nothing(dated: Store, clock: Clock) -> None:
    put(dated, carryOver="Unused")
    assert dated.due.closable(timedelta(0)) == ()
    clock.now = datetime(2026, 11, 10, tzinfo=UTC)
    assert dated.due.closable(DELAY) == (("vision", datetime(2026, 10, 1, tzinfo=UTC)),)


def test_replicas_that_close_at_once_carry_once(dated: Store, clock: Clock) -> None:
    put(dated, carryOver="Unused")
    clock.now = datetime(2026, 11, 10, tzinfo=UTC)
    done: list[int] = []
    threads = [threading.Thread(target=lambda: done.append(close_periods(dated, DELAY))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 1
    assert carried(dated, clock.now) == 10 * KWH


def test_an_exception_ends_by_the_clock_where_nobody_asks(dated: Store, clock: Clock) -> None:
    put(dated)
    end = clock.now + timedelta(hours=1)
    amount = Amounts(5 * KWH, 0, 0)
    dated.exceptions.request(BudgetException("e", "vision", ("vision",), amount, None, "why", None, "alice", end))
    dated.exceptions.approve("e", "bob")
    assert dated.due.expire_exceptions() == 0
    clock.now = end
    assert dated.due.expire_exceptions() == 1
    assert dated.due.expire_exceptions() == 0
    assert dated.budgets.balance("vision").balances[Unit.MJ].exceptions == 0
    assert dated.trial_balance.run().differences == ()


def test_a_balance_that_differs_is_counted_and_named(
    sqlite_service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = Metrics()
    sqlite_service.put("/v1/budgets/vision", budget())
    assert check_balances(sqlite_service.store, metrics) == 0
    assert values_of(metrics.text())["joulegate_ledger_differences"] == 0
    sqlite_service.post("/v1/records", record())
    with sqlite_service.store._database.write() as connection:
        connection.execute(text("UPDATE balances SET posted_mj = posted_mj + 1"))
    assert check_balances(sqlite_service.store, metrics) == 1
    assert values_of(metrics.text())["joulegate_ledger_differences"] == 1
    assert "balances vision 2026-01-01T00:00Z posted_mj" in "".join(capsys.readouterr())


def test_a_job_that_fails_is_counted_and_done_again() -> None:
    metrics = Metrics()
    fails = [UnavailableError("down"), ValueError("a slip")]
    again = threading.Event()

    def work() -> int:
        if fails:
            raise fails.pop()
        again.set()
        return 1

    with running([Job("release", 0.01, work)], metrics):
        assert again.wait(10)
    values = values_of(metrics.text())
    assert values['joulegate_timer_runs_total{job="release",outcome="failed"}'] == 2
    assert values['joulegate_timer_runs_total{job="release",outcome="done"}'] >= 1


def test_the_threads_end_with_the_service() -> None:
    with running([Job("idle", 3_600, lambda: 0), Job("quick", 0.01, lambda: 0)], Metrics()):
        assert {thread.name for thread in threading.enumerate()} >= {"timer-idle", "timer-quick"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("timer-")]


def test_every_job_runs_on_a_real_database(service: Service) -> None:
    metrics = Metrics()
    for job in jobs(service.settings, service.store, metrics):
        assert run_once(job, metrics), job.name
