"""The log names nobody and quotes nobody; what it means can be told, and erased, without changing the log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import select

from joulegate.core.log import EntryType
from joulegate_api.store import Amounts, BudgetException, ReasonCode, Store
from joulegate_api.store.columns import metadata
from joulegate_api.store.log_tables import disclosures, pseudonyms
from joulegate_api.store.pseudonyms import commitment_of, veiled
from joulegate_api.store.tables import entries
from tests.api.store.examples import budget, record

NAME, OTHER, TEXT = "alice.example", "bob.example", "because of the deadline of Carol"


def data_of(store: Store) -> Iterator[bytes]:
    with store._database.read() as connection:
        yield from connection.execute(select(entries.c.data)).scalars()


def fill(store: Store) -> None:
    store.budgets.put(budget("vision"), NAME)
    store.records.accept(record("r-1"), "hash", OTHER)
    store.corrections.reverse("r-1", ReasonCode.DUPLICATE, NAME)
    ends = store.log.backlog()[1] + timedelta(days=1)
    asked = BudgetException("e-1", "vision", ("vision",), Amounts(1, 0, 0), None, TEXT, "T-1", OTHER, ends)
    store.exceptions.request(asked)
    store.exceptions.approve("e-1", NAME)


def test_no_entry_holds_a_name_or_a_text_of_somebody(store: Store) -> None:
    fill(store)
    whole = b"".join(data_of(store))
    assert whole.count(b"person:") == 5
    assert whole.count(b"text:") == 2
    for clear in (NAME, OTHER, TEXT, "T-1"):
        assert clear.encode() not in whole


def test_what_is_meant_is_kept_beside_the_log_until_it_is_erased(store: Store) -> None:
    fill(store)
    (asked,) = store.log.bodies(EntryType.EXCEPTION_REQUESTED)
    with store._database.read() as connection:
        named = {row.principal: row.pseudonym for row in connection.execute(select(pseudonyms))}
        texts = {row.commitment: row for row in connection.execute(select(disclosures))}
    assert asked["requested_by"] == named[OTHER]
    told = texts[asked["reason"]]
    assert (told.text, commitment_of(told.salt, told.text)) == (TEXT, asked["reason"])
    before = sorted(data_of(store))
    assert store.log.forget(OTHER) == 3, "the pseudonym, the record's sender, who asked"
    assert store.log.forget(asked["reason"]) == 2
    assert store.log.forget(OTHER) == store.log.forget(asked["reason"]) == 0
    assert sorted(data_of(store)) == before
    with store._database.read() as connection:
        for table in metadata.sorted_tables:
            if table is not entries:
                whole = repr(connection.execute(select(table)).all())
                assert OTHER not in whole, table.name
                assert TEXT not in whole, table.name
    (kept,) = store.exceptions.list()
    assert (kept.requested_by, kept.reason) == (named[OTHER], asked["reason"])


def test_one_person_has_one_pseudonym_and_one_text_many_commitments(store: Store) -> None:
    body = {"requested_by": NAME, "reason": TEXT, "why": {"principal": NAME, "reason": TEXT}}
    with store._database.write() as connection:
        first, second = (veiled(connection, "default", EntryType.EXCEPTION_REQUESTED, body) for _ in range(2))
    assert first["requested_by"] == second["requested_by"] == first["why"]["principal"]
    assert len({first["reason"], second["reason"], first["why"]["reason"]}) == 3
