"""The table of rules in docs/ledger.md names tests and modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8").partition("## Every rule")[2].partition("\n## ")[0]
ROWS = [row.strip("| ").split(" | ") for row in TEXT.splitlines() if row.startswith("| ") and "`" in row]


def test_every_rule_names_a_test_that_exists() -> None:
    named = [found for row in ROWS for found in re.findall(r"`([\w/]+\.py)::(test_\w+)`", row[-1])]
    missing = [
        f"{path}::{name}"
        for path, name in named
        if f"def {name}(" not in (ROOT / "tests" / path).read_text(encoding="utf-8")
    ]
    assert (len(ROWS) > 30, missing) == (True, [])
    assert [row[0] for row in ROWS if "::" not in row[-1]] == []


def test_every_rule_names_modules_that_exist() -> None:
    places = [
        path.relative_to(ROOT).as_posix()
        for room in ("api", "operators", "plugin")
        for path in (ROOT / room).rglob("*.py")
    ]
    named = [module for row in ROWS for module in re.findall(r"`([\w/]+\.py)`", row[1])]
    missing = [
        module
        for module in named
        if not any(place.replace("joulegate_", "").endswith("/" + module.replace("joulegate_", "")) for place in places)
    ]
    assert missing == []
