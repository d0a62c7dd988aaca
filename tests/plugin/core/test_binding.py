"""Which budgets bind: scopes are ANDed, parents always count, selectable ones are chosen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from joulegate.core.binding import Work, bind, check_tree, lineage
from joulegate.core.budgets import Budget, LabelRule, Limits, Scope, SelectorOperator
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import FixedRule, Period

ALWAYS = FixedRule(Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)))
VISION = Scope(namespaces=("vision",))


def budget(name: str, parent: str | None = None, scope: Scope | None = None, **rest: bool) -> Budget:
    return Budget(name, ALWAYS, Limits(energy_mj=1), parent=parent, scope=scope, **rest)  # type: ignore[arg-type] # flags only


def named(*budgets: Budget) -> dict[str, Budget]:
    return {each.name: each for each in budgets}


TRAINING = Work("vision", "training")


def test_a_budget_binds_what_its_scope_holds_and_its_parents_count_whatever_their_scope() -> None:
    tree = named(
        budget("org"),
        budget("lab", "org", Scope(namespaces=("speech",))),
        budget("vision", "lab", VISION),
    )
    assert bind(tree, TRAINING).names == ("lab", "org", "vision")
    assert bind(tree, Work("speech", "training")).names == ("lab", "org")
    assert bind(tree, Work("other", "training")).names == ()


def test_fields_of_a_scope_are_anded() -> None:
    only_inference = Scope(namespaces=("vision",), kinds=("inference",))
    assert bind(named(budget("b", scope=only_inference)), TRAINING).names == ()
    assert bind(named(budget("b", scope=only_inference)), Work("vision", "inference")).names == ("b",)


@pytest.mark.parametrize(
    ("rule", "labels", "holds"),
    [
        (LabelRule("team", SelectorOperator.IN, ("a",)), {"team": "a"}, True),
        (LabelRule("team", SelectorOperator.IN, ("a",)), {}, False),
        (LabelRule("team", SelectorOperator.NOT_IN, ("a",)), {}, True),
        (LabelRule("team", SelectorOperator.NOT_IN, ("a",)), {"team": "a"}, False),
        (LabelRule("team", SelectorOperator.EXISTS), {"team": "x"}, True),
        (LabelRule("team", SelectorOperator.DOES_NOT_EXIST), {"team": "x"}, False),
    ],
)
def test_namespace_selectors_follow_kubernetes(rule: LabelRule, labels: dict[str, str], holds: bool) -> None:
    bound = bind(
        named(budget("b", scope=Scope(namespace_selector=(rule,)))),
        Work("vision", "training", labels),
    )
    assert bool(bound.names) is holds


def test_of_selectable_budgets_the_chosen_one_applies_else_the_default() -> None:
    tree = named(
        budget("night", scope=VISION, selectable=True),
        budget("day", scope=VISION, selectable=True, default=True),
    )
    assert bind(tree, TRAINING).names == ("day",)
    assert bind(tree, Work("vision", "training", chosen="night")).names == ("night",)
    forbidden = bind(tree, Work("vision", "training", chosen="night", usable=frozenset({"day"})))
    assert (forbidden.names, forbidden.not_permitted) == (("day",), None)
    assert "night" in forbidden.warnings[0]


def test_law_12_a_choice_that_is_not_permitted_and_has_no_default_is_refused() -> None:
    tree = named(budget("night", scope=VISION, selectable=True))
    assert bind(tree, Work("vision", "training", chosen="night", usable=frozenset())).not_permitted == "night"
    assert bind(tree, Work("vision", "training", chosen="no-such")).not_permitted == "no-such"


def test_cycles_and_dangling_parents_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="cycle: a -> b -> a"):
        lineage(named(budget("a", "b"), budget("b", "a")), "a")
    with pytest.raises(InvalidInputError, match="does not exist"):
        check_tree([budget("a", "gone")])


def test_currencies_of_one_line_agree() -> None:
    above = Budget("org", ALWAYS, Limits(cost_micros=1, currency="EUR"))
    below = Budget("lab", ALWAYS, Limits(cost_micros=1, currency="USD"), parent="org")
    with pytest.raises(InvalidInputError, match="nothing is converted"):
        check_tree([above, below])
