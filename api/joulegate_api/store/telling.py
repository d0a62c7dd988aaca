"""The entry of a decision, in its canonical form at once: no other entry is written so often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from joulegate.core.budgets import Budget
from joulegate.core.encoding import instant_text
from joulegate.core.errors import InvalidInputError
from joulegate.core.log import quoted
from joulegate_api.store.amounts import Amounts
from joulegate_api.store.grants import Key
from joulegate_api.store.holds import HoldRequest


class Told(NamedTuple):
    """What an entry tells of a request, before and after the word that says whether something was held."""

    before: str
    after: str

    @classmethod
    def of(cls, request: HoldRequest, demand: str, quote_hash: str) -> Self:
        """The parts of a request; ``demand`` is in canonical form. Raises :class:`InvalidInputError` for no text."""
        before = f'"cluster":{quoted(request.cluster)},"demand":{demand}'
        after = (
            f'"name":{quoted(request.name)},"namespace":{quoted(request.namespace)},"origin":{quoted(request.origin)},'
            f'"quote_hash":{quoted(quote_hash)},"requested_at":{instant_text(request.requested_at)},'
            f'"resource":{quoted(request.resource)},"root_uid":{quoted(request.root_uid)}'
        )
        try:
            (before + after).encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"cannot be written canonically: {error}") from error
        return cls(before, after)


def decision(
    told: Told,
    verdict: str,
    asked: Mapping[Key, Amounts],
    available: Mapping[Key, Amounts],
    budgets: Mapping[str, Budget],
    *,
    held: bool,
) -> str:
    """The body: enough to weigh every claim again against what was available at that moment."""
    claims = [
        f'{{"asked":{amounts.text()},"available":{available[key].text()},"budget":{quoted(key.budget)},'
        f'"enforcement":{quoted(budgets[key.budget].enforcement)},"period_start":{instant_text(key.start)}}}'
        for key, amounts in asked.items()
    ]
    word = "true" if held else "false"
    return f'{{"claims":[{",".join(claims)}],{told.before},"held":{word},{told.after},"verdict":{verdict}}}'
