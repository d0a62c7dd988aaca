"""`joulegate budget show` says in words what stands behind a balance, and what it does not know."""

from datetime import UTC, datetime, timedelta

from joulegate.core.periods import format_instant, quarter_of
from tests.api.running import Service, budget, record
from tests.api.test_exceptions import exception
from tests.api.test_holds import asked
from tests.plugin.cli.conftest import Command


def test_a_budget_of_which_nothing_was_drawn_has_no_forecast(joulegate: Command, api: Service) -> None:
    api.put("/v1/budgets/vision", budget())
    told = joulegate("budget", "show", "vision").out
    assert "energy: 10 kWh available" in told
    assert "10 kWh = base 10 kWh\n" in told
    assert "none: nothing was drawn in the last 24 hours" in told
    assert "carbon: no limit" in told


def test_every_figure_of_a_balance_is_said(joulegate: Command, api: Service) -> None:
    api.put("/v1/budgets/vision", budget(limits={"energyKwh": "1", "cost": {"amount": "5", "currency": "EUR"}}))
    api.put("/v1/budgets/vision", budget(limits={"energyKwh": "1"}, enforcement="Warn"))
    begin = quarter_of(datetime.now(UTC) - timedelta(minutes=30))
    end = begin + timedelta(minutes=5)
    body = record(started_at=format_instant(begin), ended_at=format_instant(end))
    interval = body["devices"][0]["intervals"][0]
    interval |= {"start": format_instant(begin), "end": format_instant(end), "energy_mj": str(1_800_000_000)}
    api.post("/v1/holds/uid-1/request", asked())
    assert api.post("/v1/records", body).status_code == 201
    told = joulegate("budget", "show", "vision").out
    for words in (
        "posted      500 Wh (50 % of the limit)",
        "pending     400 Wh, held by 1 run",
        "at today's rate (500 Wh in the last 24 hours)",
        "jobs vision/train, unconfirmed since",
        "400 Wh pending, nothing drawn",
        "500 Wh not priced yet",
        "debt        none",
    ):
        assert words in told, told
    api.put("/v1/budgets/vision", budget(limits={"energyKwh": "0.6"}, enforcement="Warn"))
    assert "debt        300 Wh beyond the limit" in joulegate("budget", "show", "vision").out


def test_an_exception_is_said_with_its_end_and_what_is_used_of_it(joulegate: Command, api: Service) -> None:
    api.put("/v1/budgets/vision", budget())
    api.post("/v1/exceptions", exception())
    api.post("/v1/exceptions/vision.more/approval", {}, by="approver")
    told = joulegate("budget", "show", "vision").out
    assert "exceptions:\n  vision.more, for namespace vision, until " in told
    assert "\n    gives 5 kWh; used: nothing" in told


def test_the_object_that_is_shown_can_be_applied(joulegate: Command, api: Service) -> None:
    api.put("/v1/budgets/vision", budget())
    shown = joulegate("budget", "show", "vision", "-o", "yaml").out
    assert joulegate("budget", "apply", "-f", "-", stdin=shown).code == 0
    told = joulegate("budget", "show", "vision", "--json").json
    assert told["status"]["energy"]["rate"]["forecast"] == "nothing_drawn"


def test_an_unknown_budget_is_one_line(joulegate: Command, api: Service) -> None:
    assert api.store.budgets.list() == ()
    done = joulegate("budget", "show", "nobody")
    assert (done.code, done.err) == (1, "joulegate: there is no budget nobody (404 not_found)\n")
