"""The core is pure: it imports an explicit part of the standard library, and asks for nothing."""

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "plugin" / "joulegate" / "core"
FILES = sorted(CORE.rglob("*.py"))

ALLOWED = {
    "__future__",
    "array",
    "base64",
    "bisect",
    "collections",
    "collections.abc",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "hmac",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "statistics",
    "types",
    "typing",
    "zoneinfo",
}
# What pure modules could still do to read the world.
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
IMPURE_METHODS = {"now", "today", "utcnow", "read_text", "read_bytes", "write_text", "write_bytes"}


def foreign_imports(source: str) -> set[str]:
    """The modules that `source` imports and the core may not."""
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            wanted.add("." * node.level + (node.module or ""))
    own = {name for name in wanted if f"{name}.".startswith("joulegate.core.")}
    return wanted - own - ALLOWED


def impure_calls(source: str) -> set[str]:
    """The calls in `source` that would read a clock or open something."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    plain = {call.id for call in calls if isinstance(call, ast.Name)} & IMPURE_CALLS
    return plain | {call.attr for call in calls if isinstance(call, ast.Attribute)} & IMPURE_METHODS


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_the_core_imports_nothing_beyond_the_list(path: Path) -> None:
    assert foreign_imports(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_the_core_reads_no_clock_and_opens_nothing(path: Path) -> None:
    assert impure_calls(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy as np", {"numpy"}),
        ("from os import path", {"os"}),
        ("import datetime, time", {"time"}),
        ("def late():\n    import random", {"random"}),
        ("from joulegate.gpu import nvml", {"joulegate.gpu"}),
        ("from joulegate import core", {"joulegate"}),
        ("from . import units", {"."}),
        ("from joulegate.core.units import Energy\nimport math", set()),
    ],
)
def test_an_import_that_is_not_on_the_list_is_found(source: str, found: set[str]) -> None:
    assert foreign_imports(source) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("datetime.now(UTC)", {"now"}),
        ("open('x')", {"open"}),
        ("Path('x').read_text()", {"read_text"}),
        ("instant.replace(tzinfo=UTC)", set()),
    ],
)
def test_a_call_that_asks_the_world_is_found(source: str, found: set[str]) -> None:
    assert impure_calls(source) == found
