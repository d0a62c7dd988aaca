"""The repository names no index of packages and no place on the machine where it was written."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Written in parts, so that this file does not hold what it looks for.
INDEX_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("golang", "org"),
        ("maven", "org"),
        ("debian", "org"),
    )
]
ADDRESSES = re.compile("|".join(re.escape(host) for host in INDEX_HOSTS), re.IGNORECASE)
INDEX_OPTIONS = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host")
MACHINE_PATHS = re.compile(r"""(?:^|[\s"'`(=:])/(?:root|work|home/\w+|Users/\w+|tmp/jg)\b""", re.MULTILINE)


def texts() -> dict[str, str]:
    """Every file that git keeps or would keep and that is text, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = {}
    for line in listed.stdout.splitlines():
        path = ROOT / line
        try:
            found[line] = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found


TEXTS = texts()


@pytest.mark.parametrize("pattern", [ADDRESSES, MACHINE_PATHS], ids=["indexes", "paths"])
def test_no_file_names_an_index_or_a_place_on_a_machine(pattern: re.Pattern[str]) -> None:
    found = {name: match.group() for name, text in TEXTS.items() if (match := pattern.search(text))}
    assert found == {}


@pytest.mark.parametrize("name", ["services", "kfp", "tools"])
def test_pins_are_hashed_and_without_options(name: str) -> None:
    lines = TEXTS[f"requirements/{name}.txt"].splitlines()
    pins = [line for line in lines if not line.startswith(" ")]
    assert pins
    assert [line for line in pins if not re.match(r"[a-z0-9][a-z0-9._-]*==\S+ .*\\$", line)] == []
    assert [line for line in lines if INDEX_OPTIONS.search(line)] == []


def test_what_is_looked_for_is_found() -> None:
    assert ADDRESSES.search("see https://" + INDEX_HOSTS[0] + "/simple")
    assert MACHINE_PATHS.search("cd /{}/x".format("root"))
    assert not MACHINE_PATHS.search("GET /v1/records")
