"""A report is of what its scope names, and of nothing that merely looks like it."""

from dataclasses import replace

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate.core.scopes import Scope, ScopeKind, parse_scope
from tests.plugin.core.audited import fact, record


@pytest.mark.parametrize("kind", list(ScopeKind))
def test_what_is_written_of_a_scope_is_read_back(kind: ScopeKind) -> None:
    scope = Scope(kind, "meta-llama/Llama: 3")
    assert parse_scope(str(scope)) == (None, scope)


def test_organisation_is_everything_and_a_namespace_is_no_scope_of_its_own() -> None:
    assert parse_scope("organisation") == (None, None)
    assert parse_scope("namespace:vision") == ("vision", None)


@pytest.mark.parametrize("text", ["", "vision", "model:", "model", "colour:red", ":x", "MODEL:x"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="scope"):
        parse_scope(text)


def test_a_record_belongs_to_its_budgets_pipeline_model_and_run() -> None:
    one = fact(record("a", [1]))
    for scope in ("team:team", "pipeline:digits", "model:digits", "run:run-a"):
        _, asked = parse_scope(scope)
        assert asked is not None
        assert asked.holds(one)
        assert not replace(asked, name="other").holds(one)
