"""What a part imports is what its extra installs, neither less nor more."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"joulegate", "joulegate_api", "joulegate_migrations", "joulegate_operators"}
# The folders and files whose imports each extra must cover, beside the bare install.
ROOMS = {
    "api": ("api/joulegate_api", "migrations/joulegate_migrations", "plugin/joulegate/signing.py"),
    "cli": ("plugin/joulegate/cli", "plugin/joulegate/signing.py"),
    "codecarbon": ("plugin/joulegate/integrations/codecarbon.py",),
    "node": ("operators/joulegate_operators",),
    "pipelines": ("plugin/joulegate/pipelines.py",),
}
# What is installed without being imported by us.
UNIMPORTED = {
    "httptools": "uvicorn takes it as its HTTP parser",
    "psycopg": "SQLAlchemy loads it for postgresql:// addresses",
    "tzdata": "zoneinfo reads it where the system has no time zones",
    "uvloop": "uvicorn takes it as its loop",
}
# What is imported without being installed by that extra.
ELSEWHERE = {"typer": "the command, which has it, loads joulegate_api.commands"}


def declared(requirements: list[str]) -> set[str]:
    """The names of the distributions in `requirements`."""
    return {re.split(r"[\[<>=;!~ ]", line)[0].lower() for line in requirements}


def imported(places: tuple[str, ...]) -> set[str]:
    """The top-level modules from elsewhere that the files in `places` import."""
    found: set[str] = set()
    for place in places:
        files = (ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else (ROOT / place,)
        for file in (file for file in files if file.is_file()):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - OWN


def distributions(modules: set[str]) -> set[str]:
    """The distributions that hold `modules`; a module that is not installed stands for itself."""
    known = importlib.metadata.packages_distributions()
    return {name.lower() for module in modules for name in known.get(module, [module])}


@pytest.mark.parametrize("extra", sorted(ROOMS))
def test_an_extra_installs_what_its_rooms_import_and_no_more(extra: str) -> None:
    offered = declared(PROJECT["optional-dependencies"][extra])
    needed = {name.replace("_", "-") for name in distributions(imported(ROOMS[extra]))}
    assert needed - offered - declared(PROJECT["dependencies"]) - set(ELSEWHERE) == set(), "imported, not declared"
    assert offered - needed - set(UNIMPORTED) == set(), "declared, not imported"


def test_every_extra_has_its_rooms() -> None:
    assert set(ROOMS) == set(PROJECT["optional-dependencies"])
