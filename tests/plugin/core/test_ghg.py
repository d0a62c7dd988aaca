"""Every slice lies in one category of the GHG Protocol, by a rule that is named."""

from dataclasses import replace

import pytest

from joulegate.core.audit import Query, audit
from joulegate.core.footprint import Ownership, Rates
from joulegate.core.ghg import RULES
from joulegate.core.periods import QUARTER, Period
from tests.plugin.core.audited import NO_RATES, NOON, RATES, fact, record


def owned(by: Ownership | None) -> Rates:
    assert RATES.site
    return replace(RATES, site=replace(RATES.site, ownership=by))


@pytest.mark.parametrize(
    ("by", "category"),
    [
        (Ownership.OWNED, "Scope 2"),
        (Ownership.COLO, "Scope 2 where you control the machines, else Scope 3 category 8"),
        (Ownership.LEASED, "Scope 2 where you control the machines, else Scope 3 category 8"),
        (Ownership.CLOUD_IAAS, "Scope 3 category 1"),
        (Ownership.API, "Scope 3 category 1"),
        (None, "unknown: the site does not say who owns the machines"),
    ],
)
def test_the_category_follows_from_who_owns_the_machines(by: Ownership | None, category: str) -> None:
    assert set(RULES) == {*Ownership, None}
    made = audit(Query(Period(NOON, NOON + 4 * QUARTER), None), [fact(record("a", [5]), owned(by))], (), "joulegate 0")
    assert [(row.ownership, row.category, row.energy_mj) for row in made.categories] == [(by, category, 5)]


def test_what_lies_in_the_categories_adds_up_to_the_totals() -> None:
    facts = [
        fact(record("a", [3_600_000_000, None]), owned(Ownership.OWNED)),
        fact(record("b", [1_000_000_001]), owned(Ownership.CLOUD_IAAS)),
        fact(record("c", [7]), NO_RATES),
    ]
    made = audit(Query(Period(NOON, NOON + 4 * QUARTER), None), facts, (), "joulegate 0")
    assert [row.rule for row in made.categories] == ["not-told", "cloud", "own-machines"]
    (total,) = made.totals
    assert sum(row.energy_mj or 0 for row in made.categories) == total.energy_mj
    assert sum(row.carbon_location_ug or 0 for row in made.categories) == total.carbon_location_ug
    assert sum(row.slices for row in made.categories) == total.slices
