"""The shape of the tree: small modules, small functions, names that say what is inside."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("plugin", "api", "operators", "migrations")
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
DRAWERS = {"common", "helpers", "misc", "service", "services", "util", "utils"}


def python_files() -> list[Path]:
    """Every Python file that git keeps or would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


FILES = python_files()
NAMES = [str(path.relative_to(ROOT)) for path in FILES]


def test_a_module_is_short() -> None:
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in zip(NAMES, FILES, strict=True)}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}, "one noun became two"


def long_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Functions of the file `path` that are too long, each with its lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield node.name, length


def test_a_function_is_short() -> None:
    edited = [path for path in FILES if path.parent.name != "versions"]  # a revision lists tables, once and for all
    assert [(str(path.relative_to(ROOT)), *found) for path in edited for found in long_functions(path)] == []


def test_no_module_is_a_drawer() -> None:
    assert [name for name, path in zip(NAMES, FILES, strict=True) if path.stem in DRAWERS] == []


def coroutines_in(path: Path) -> list[ast.AsyncFunctionDef]:
    """The asynchronous functions of the file `path`."""
    text = path.read_text(encoding="utf-8")
    if "async def" not in text:
        return []
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.AsyncFunctionDef)]


def test_only_the_edge_of_the_api_is_asynchronous() -> None:
    api = ROOT / "api" / "joulegate_api"
    edge = {api, api / "dashboard"}
    sources = tuple(f"{root}/" for root in SOURCE_ROOTS)
    coloured = [
        name
        for name, path in zip(NAMES, FILES, strict=True)
        if name.startswith(sources) and path.parent not in edge and coroutines_in(path)
    ]
    assert coloured == []


def test_nothing_asynchronous_touches_the_store() -> None:
    touching = [
        f"{name}: {function.name}"
        for name, path in zip(NAMES, FILES, strict=True)
        for function in coroutines_in(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "store"
    ]
    assert touching == []


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_holds_one_typed_package(root: str) -> None:
    (package,) = [path for path in (ROOT / root).iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert (package / "__init__.py").is_file()
    assert (package / "py.typed").is_file()


def test_every_package_has_a_docstring() -> None:
    packages = [path for path in FILES if path.name == "__init__.py"]
    assert packages
    silent = [path for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_tests_mirror_the_source(root: str) -> None:
    """A test that is named after a module lies where the module does; one of several has a name of its own."""
    (package,) = [path.parent for path in (ROOT / root).glob("*/__init__.py")]
    homes: dict[str, set[Path]] = {}
    for module in package.rglob("*.py"):
        homes.setdefault(module.stem, set()).add(module.parent)
    lost = []
    for test in sorted((ROOT / "tests" / root).rglob("test_*.py")):
        place = package / test.parent.relative_to(ROOT / "tests" / root)
        expected = homes.get(test.stem.removeprefix("test_"), {place})
        if not place.is_dir() or place not in expected:
            lost.append(str(test.relative_to(ROOT)))
    assert lost == [], "away from what they test"
