"""Decisions: one transaction locks, decides, holds and logs, for all requests that arrived together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from joulegate.core.budgets import Verdict
from joulegate.core.encoding import encode, text
from joulegate.core.errors import UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period
from joulegate.core.workloads import Demand
from joulegate_api.store import holds
from joulegate_api.store.amounts import NOTHING
from joulegate_api.store.balances import Account, Accounts, Key, StaleError, unlocked
from joulegate_api.store.budgets import Budgets, Hierarchy
from joulegate_api.store.bulk import WORTH_COPYING, ask
from joulegate_api.store.columns import Written
from joulegate_api.store.combining import Combiner
from joulegate_api.store.database import Database, RefusedError
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.holds import Held, HoldRequest, HoldState, New, Origin, Root
from joulegate_api.store.planning import Plan, beyond, countable, judge, plan, repeated, rooms
from joulegate_api.store.quoted import ON_TOP
from joulegate_api.store.standing import asking, standing, told
from joulegate_api.store.telling import decision
from joulegate_api.store.transitions import REPLACE, step

LARGEST_BATCH: Final = 256
"""Requests that share a transaction; more would make the first of them wait for the last."""

PLANNINGS: Final = 20
"""How often a plan is made anew because budgets changed under it, before giving up."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which object a verdict is about."""

    cluster: str
    namespace: str
    resource: str
    name: str


@dataclass(frozen=True, slots=True)
class _Decision:
    """One request while its batch is decided."""

    verdict: Verdict
    made: New | None = None


class Ledger:
    """Decides requests and keeps their holds (law 6)."""

    def __init__(self, database: Database, writer: Writer, budgets: Budgets, accounts: Accounts, tenant: str) -> None:
        """Decide for one tenant."""
        self._database = database
        self._writer = writer
        self._budgets = budgets
        self._accounts = accounts
        self._tenant = tenant
        self._combiner: Combiner[HoldRequest, Verdict] = Combiner(self._serve, LARGEST_BATCH)

    def decide(self, request: HoldRequest, *, dry_run: bool = False) -> Verdict:
        """Decide a request, and hold what it asks for where it is allowed.

        A request whose demand lies within what its root holds already gets the
        answer of that hold, and nothing is written. A larger one is growth: the
        difference is decided. ``dry_run`` decides and writes nothing. What is
        answered is durable. Raises :class:`UnavailableError` where the database
        cannot be used.
        """
        return self._rehearse(request) if dry_run else self._combiner.ask(request)

    def decide_all(self, requests: Sequence[HoldRequest]) -> list[Verdict | Exception]:
        """Decide many requests of one caller, each as :meth:`decide` does; an error stands for its request."""
        batches = (requests[at : at + LARGEST_BATCH] for at in range(0, len(requests), LARGEST_BATCH))
        return [answered for batch in batches for answered in self._serve(batch)]

    def note(self, place: Place, verdict: Verdict) -> Verdict:
        """Keep a verdict that no balance was asked for (nobody could decide, or nothing binds); returns it dated."""
        with self._writer.transaction() as transaction:
            now = transaction.now()
            dated = replace(verdict, as_of=now)
            body = {**asdict(place), "held": False, "verdict": encode(dated), "claims": []}
            transaction.log(EntryType.DECISION, uuid4().hex, now, body)
        return dated

    def held(self, cluster: str, root_uid: str) -> Demand | None:
        """The largest demand that a root was admitted with and still holds; None where it holds nothing."""
        root = (cluster, root_uid)
        with self._database.read() as connection:
            parts = holds.of_roots(connection, self._tenant, [root]).get(root, [])
        live = [part.demand for part in parts if part.state in holds.LIVE]
        return live[-1] if live else None

    def _rehearse(self, request: HoldRequest) -> Verdict:
        with self._database.read() as connection:
            planned = plan(request, self._budgets.hierarchy(connection))
            found = standing(self._database, connection, self._tenant, [request])
            parts = found.parts.get(_root(request), [])
            hold_id = holds.hold_id_of(self._tenant, _root(request), request.extension or len(parts))
            answered = repeated(request, parts, hold_id)
            if answered is not None:
                return answered.verdict
            accounts = unlocked(connection, self._tenant, planned.periods, planned.budgets, found.now)
            gone = [part for root in found.namesakes.get(holds.name_of(request), ()) for part in found.parts[root]]
            for key, amounts in holds.unconfirmed_pending(connection, self._tenant, gone):  # would be available again
                if key in accounts:
                    accounts[key].post(NOTHING, amounts.negated(), None)
            growth = not request.extension and any(part.state in holds.LIVE for part in parts)
            asked = countable(planned, accounts)
            asked = asked if request.origin in ON_TOP else beyond(asked, parts)
            return judge(asked, accounts, rooms(asked, accounts), found.now, growth=growth)

    def _serve(self, requests: Sequence[HoldRequest]) -> list[Verdict | Exception]:
        """Decide a batch; where budgets changed meanwhile, plan again by the new ones."""
        wanted: set[Key] = set()
        for _ in range(PLANNINGS):
            hierarchy = self._budgets.remembered()
            planned = [_planned(request, hierarchy) for request in requests]
            plans = [made for made in planned if isinstance(made, Plan)]
            try:
                verdicts = iter(self._decide(plans, hierarchy, wanted))
            except StaleError as stale:
                wanted |= stale.wanted
                self._budgets.hierarchy()
                continue
            return [made if isinstance(made, Exception) else next(verdicts) for made in planned]
        raise UnavailableError("budgets are being changed faster than requests can be decided; try again")

    def _decide(
        self, plans: Sequence[Plan], hierarchy: Hierarchy, wanted: Collection[Key]
    ) -> Sequence[Verdict | Exception]:
        """Together where that can be; each alone where one of them, or another process, is in the way of the others."""
        periods: dict[Key, Period] = {key: period for made in plans for key, period in made.periods.items()}
        self._accounts.prepare(periods)
        try:
            return self._keep(plans, {*periods, *wanted}, hierarchy)
        except (StaleError, UnavailableError) as error:
            if not isinstance(error, RefusedError):
                raise
            return [self._alone(made, {*periods, *wanted}, hierarchy) for made in plans]

    def _alone(self, made: Plan, keys: Collection[Key], hierarchy: Hierarchy) -> Verdict | Exception:
        try:
            return self._keep([made], keys, hierarchy)[0]
        except RefusedError as error:
            return error

    def _keep(self, plans: Sequence[Plan], keys: Collection[Key], hierarchy: Hierarchy) -> list[Verdict]:
        """Lock, decide, hold and log in one transaction."""
        with self._writer.transaction() as transaction:
            requests = [made.request for made in plans]
            whole = (self._database, transaction.connection, self._tenant, requests)
            *locked, stands = ask(transaction.connection, [*self._accounts.locking(transaction, keys), asking(*whole)])
            accounts = self._accounts.locked(transaction, keys, locked)
            found = told(*whole, stands)
            missing = found.claimed_by_namesakes() - set(keys)
            if missing or found.hierarchy != hierarchy.version:
                raise StaleError(missing)
            decisions: dict[int, _Decision] = {}
            for number, made in sorted(enumerate(plans), key=lambda item: item[1].request.origin is not Origin.RENEWED):
                for root in found.namesakes.get(holds.name_of(made.request), ()):
                    why = {"replaced_by": made.request.root_uid}
                    found.parts[root] = step(transaction, root, found.parts[root], REPLACE, accounts, found.now, why)
                decisions[number] = self._settle(transaction, made, found.parts, accounts, found.now)
            if len(plans) < WORTH_COPYING:
                transaction.only_writes()
            holds.add(transaction, [decision.made for decision in decisions.values() if decision.made])
            self._accounts.write(transaction, accounts.values())
            return [decisions[number].verdict for number in range(len(plans))]

    def _settle(
        self,
        transaction: Transaction,
        planned: Plan,
        parts: dict[Root, list[Held]],
        accounts: Mapping[Key, Account],
        now: datetime,
    ) -> _Decision:
        request = planned.request
        own = parts.setdefault(_root(request), [])
        hold_id = holds.hold_id_of(self._tenant, _root(request), request.extension or len(own))
        answered = repeated(request, own, hold_id)
        if answered is not None:
            return _Decision(answered.verdict)
        growth = not request.extension and any(part.state in holds.LIVE for part in own)
        on_top = request.origin in ON_TOP
        asked = countable(planned, accounts) if on_top else beyond(countable(planned, accounts), own)
        before = rooms(asked, accounts)
        verdict = judge(asked, accounts, before, now, growth=growth, hold_id=hold_id)
        written = Written(text(verdict))
        body = decision(planned.told, written, asked.asked, before, planned.budgets, held=verdict.hold is not None)
        fact_id = verdict.hold or f"{hold_id}/{uuid4().hex}"  # a refusal is decided again each time
        transaction.log_text(EntryType.DECISION, fact_id, now, body)
        made = None
        if verdict.hold is not None:
            runs = request.origin is not Origin.ADMITTED
            state = HoldState.CONFIRMED if runs else HoldState.UNCONFIRMED
            held = Held(
                hold_id, _root(request), len(own), state, request.demand, verdict, asked.asked, request.namespace
            )
            own.append(held)
            for key, amounts in asked.asked.items():
                accounts[key].counts(None if amounts.micros is None else planned.currency)
                accounts[key].post(NOTHING, amounts, request.namespace)
            origin = Origin.GROWTH if growth and request.origin is Origin.ADMITTED else request.origin
            made = New(request, held, origin, now, planned.quote, planned.demand, written)
        return _Decision(verdict, made)


def _planned(request: HoldRequest, hierarchy: Hierarchy) -> Plan | Exception:
    try:
        return plan(request, hierarchy)
    except Exception as error:  # noqa: BLE001 - one bad request must not refuse those that came with it; its caller gets it
        return error


def _root(request: HoldRequest) -> Root:
    return request.cluster, request.root_uid
