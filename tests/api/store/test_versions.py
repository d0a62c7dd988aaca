"""Callers share a glance at the counters, and none is told of a time before it asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from joulegate_api.store import Store
from tests.api.store.examples import budget


def test_who_asks_after_a_change_of_another_process_sees_it_however_many_ask(database_url: str) -> None:
    here, elsewhere = Store.open(database_url), Store.open(database_url)

    def change_and_look(number: int) -> list[str]:
        name = f"b-{number}"
        elsewhere.budgets.put(budget(name), "somebody")
        seen = [found.name for found in here.budgets.list()]
        return [] if name in seen else [name]

    with ThreadPoolExecutor(8) as callers:
        missed = list(callers.map(change_and_look, range(24)))
    here.close()
    elsewhere.close()
    assert missed == [[]] * 24
