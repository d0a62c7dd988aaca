"""Tables in pages of docs, between the marks of the command that writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(share: float, *, signed: bool = False) -> str:
    """A share as per cent."""
    return f"{share * 100:{'+' if signed else ''}.1f} %"


def replace_block(page: Path, command: str, text: str) -> None:
    """Put ``text`` between ``<!-- begin: COMMAND -->`` and ``<!-- end: COMMAND -->``; ``ValueError`` without them."""
    begin, end = f"<!-- begin: {command} -->", f"<!-- end: {command} -->"
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
