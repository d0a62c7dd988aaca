"""The database: the only room that speaks SQL.

One public method is one transaction; domain values go in and come out, and the
errors are those of :mod:`joulegate.core.errors`. What is *not* done here: no table
is made or changed (migrations), nothing is known of HTTP.
"""

from __future__ import annotations

from typing import Self

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from joulegate_api.store import tables
from joulegate_api.store.adoptions import Adoptions
from joulegate_api.store.amounts import Amounts
from joulegate_api.store.balances import Accounts
from joulegate_api.store.budgets import BudgetBalances, Budgets, Hierarchy
from joulegate_api.store.changes import Change, Changes
from joulegate_api.store.closes import Closed, Closes
from joulegate_api.store.corrections import Corrections, ReasonCode
from joulegate_api.store.database import Clock, Database
from joulegate_api.store.devices import Device, Devices
from joulegate_api.store.due import Due
from joulegate_api.store.entries import Writer
from joulegate_api.store.exceptions import BudgetException, Exceptions
from joulegate_api.store.hold_reads import HoldFilters, HoldList, HoldRow
from joulegate_api.store.holds import Held, HoldRequest, HoldState, Origin
from joulegate_api.store.ingest import WindowBook
from joulegate_api.store.inventories import Evidence, Inventories, Inventory, ObjectSeen, PodSeen
from joulegate_api.store.journal import Decision, Journal
from joulegate_api.store.ledger import Ledger, Place
from joulegate_api.store.log_book import Leaf, LogBook
from joulegate_api.store.metered import Metered, Meterings
from joulegate_api.store.overview import Overview, Overviews
from joulegate_api.store.pricing import Pricing, Rehearsal
from joulegate_api.store.rates import PutRates, RateShelf
from joulegate_api.store.records import Accepted, Records
from joulegate_api.store.releases import Releases
from joulegate_api.store.sequencer import Head, Sequencer, Signed
from joulegate_api.store.slices import PricedSlice
from joulegate_api.store.statements import RunPending, Statement, Statements
from joulegate_api.store.stored_records import Page, RecordFilters, StoredRecord
from joulegate_api.store.transitions import HoldBook, Transitions
from joulegate_api.store.trees import Child, LivePod, Standing, Trees
from joulegate_api.store.trial_balance import Check, Difference, TrialBalance
from joulegate_api.store.unconfirmed import Unconfirmed
from joulegate_api.store.windows import Ingested, Quarantined, Window, WindowBatch

__all__ = [
    "Accepted",
    "Amounts",
    "BudgetBalances",
    "BudgetException",
    "Change",
    "Child",
    "Closed",
    "Decision",
    "Device",
    "Difference",
    "Evidence",
    "Head",
    "Held",
    "Hierarchy",
    "HoldFilters",
    "HoldRequest",
    "HoldRow",
    "HoldState",
    "Ingested",
    "Inventory",
    "Leaf",
    "LivePod",
    "LogBook",
    "Metered",
    "ObjectSeen",
    "Origin",
    "Overview",
    "Page",
    "Place",
    "PodSeen",
    "PricedSlice",
    "PutRates",
    "Quarantined",
    "ReasonCode",
    "RecordFilters",
    "Rehearsal",
    "RunPending",
    "Signed",
    "Standing",
    "Statement",
    "Store",
    "StoredRecord",
    "TrialBalance",
    "Window",
    "WindowBatch",
]


class Store:
    """One tenant of one database."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Use :meth:`open`."""
        self._database = database
        writer = Writer(database, tenant)
        accounts = Accounts(writer, tenant)
        self.budgets = Budgets(database, writer, tenant)
        self.rates = RateShelf(database, writer, tenant)
        self.records = Records(database, writer, accounts, self.budgets, self.rates, tenant)
        transitions = Transitions(database, writer, accounts, tenant)
        self.holds = HoldBook(database, transitions, tenant)
        self.hold_list = HoldList(database, tenant)
        self.releases = Releases(database, transitions, accounts, self.budgets, tenant)
        self.inventories = Inventories(database, writer, transitions, self.releases, tenant)
        self.adoptions = Adoptions(database, writer, self.budgets, tenant)
        self.exceptions = Exceptions(database, writer, accounts, self.budgets, tenant)
        self.trees = Trees(database, writer, tenant)
        self.trial_balance = Check(database, tenant)
        self.devices = Devices(database, writer, tenant)
        self.windows = WindowBook(database, writer, accounts, self.budgets, self.rates, tenant)
        self.meterings = Meterings(database, tenant)
        self.closes = Closes(database, writer, accounts, self.budgets, tenant)
        self.corrections = Corrections(database, writer, accounts, self.budgets, self.rates, tenant)
        self.pricing = Pricing(database, writer, accounts, self.budgets, self.rates, tenant)
        self.statements = Statements(database, self.budgets, tenant)
        self.changes = Changes(database, writer, tenant)
        self.due = Due(database, writer, accounts, self.budgets, tenant)
        self.unconfirmed = Unconfirmed(database, tenant)
        self.ledger = Ledger(database, writer, self.budgets, accounts, tenant)
        self.journal = Journal(database, tenant)
        self.sequencer = Sequencer(database, tenant)
        self.log = LogBook(database, writer, tenant)
        self.overviews = Overviews(database, tenant)

    @classmethod
    def open(cls, url: str, tenant: str = "default", clock: Clock | None = None) -> Self:
        """Open a database that the migrations made.

        ``clock`` replaces the database's clock (tests). Raises
        :class:`~joulegate.core.errors.UnavailableError` with one line where the
        address is wrong, or the database is missing, not writable or of another revision.
        """
        database = Database(url, clock)
        try:
            database.check()
            with database.write() as connection:
                try:
                    with connection.begin_nested():
                        connection.execute(insert(tables.versions).values(tenant=tenant, hierarchy=0, rates=0))
                except IntegrityError:
                    pass  # this tenant has been here before
        except BaseException:
            database.close()
            raise
        return cls(database, tenant)

    def ping(self) -> None:
        """Raise :class:`~joulegate.core.errors.UnavailableError` where the database does not answer."""
        self._database.check()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()
