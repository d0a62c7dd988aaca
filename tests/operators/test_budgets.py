"""The order in which budgets are brought to the API, and what is read of an object."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulegate_operators.budgets import parent_of, parents_first

NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(NAMES, st.none() | NAMES))
def test_a_parent_comes_before_its_children_unless_they_are_in_a_circle(parents: dict[str, str | None]) -> None:
    ordered = list(parents_first(parents))
    assert sorted(ordered) == sorted(parents)
    for name, parent in parents.items():
        if parent in parents and not in_or_below_a_circle(name, parents):
            assert ordered.index(parent) < ordered.index(name)


def in_or_below_a_circle(name: str, parents: dict[str, str | None]) -> bool:
    """Whether the way up from `name` never ends."""
    seen: set[str] = set()
    at: str | None = name
    while at in parents:
        if at in seen:
            return True
        seen.add(at)
        at = parents[at]
    return False


@given(st.permutations("abcdefgh"))
def test_the_order_does_not_depend_on_that_of_the_list(names: list[str]) -> None:
    parents = {"b": "a", "c": "b", "d": "a", "h": "c"}
    assert parents_first({name: parents.get(name) for name in names}) == list("aefgbdch")


def test_a_parent_that_is_not_a_name_is_none() -> None:
    assert (parent_of({}), parent_of({"parent": 7}), parent_of({"parent": "all"})) == (None, None, "all")
