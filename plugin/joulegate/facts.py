"""What the work says about itself, handed to whoever measures it by a file.

The runner measures from outside and names a file; the library inside appends
one line of JSON a fact. A line is written by one call, so that processes which
write at the same time do not mix.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Final

FILE: Final = "JOULEGATE_FACTS_FILE"
RUN_ID: Final = "JOULEGATE_RUN_ID"

MOST: Final = 1_000
"""Facts of each sort that a record takes; the API refuses longer lists."""
_LONGEST_FILE: Final = 4 * 1024 * 1024
_LONGEST_NAME: Final = 253
_LONGEST_UNIT: Final = 64


@dataclass(frozen=True, slots=True)
class WorkFact:
    """A window of work on CLOCK_BOOTTIME: ``amount`` of ``unit``, done ``repeats`` times."""

    name: str
    unit: str
    amount: int
    repeats: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class QualityFact:
    """A figure of merit, over ``n`` samples."""

    name: str
    value: float
    n: int | None = None
    higher_is_better: bool = True


Fact = WorkFact | QualityFact


@dataclass(frozen=True, slots=True)
class Facts:
    """What was said, in order, and how many lines were left out: unreadable, or too many."""

    work: tuple[WorkFact, ...] = ()
    quality: tuple[QualityFact, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, facts: list[Fact], left_out: int = 0) -> Facts:
        """Sort facts by what they are; keeps the first :data:`MOST` of each."""
        work = [fact for fact in facts if isinstance(fact, WorkFact)]
        quality = [fact for fact in facts if isinstance(fact, QualityFact)]
        left_out += max(0, len(work) - MOST) + max(0, len(quality) - MOST)
        return cls(tuple(work[:MOST]), tuple(quality[:MOST]), left_out)


def is_inside_a_run(environment: Mapping[str, str]) -> bool:
    """Whether a runner measures this process already.

    A file that is named and not there belonged to a runner that has ended, or to
    another machine; the environment alone was inherited.
    """
    named = environment.get(FILE, "")
    return bool(environment.get(RUN_ID)) and (not named or Path(named).is_file())


def append(path: Path, fact: Fact) -> None:
    """Add a fact to the file; raises ``OSError`` where it cannot be written."""
    sort = "work" if isinstance(fact, WorkFact) else "quality"
    line = json.dumps({"fact": sort, **asdict(fact)}, allow_nan=False, separators=(",", ":")) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)  # never creates: the runner made it, or has ended
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> Facts:
    """Everything that was said; what cannot be read is counted, not guessed."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_FILE)
            whole = not file.read(1)
    except OSError:
        return Facts(left_out=1)
    facts: list[Fact] = []
    left_out = 0 if whole else 1
    for line in content.splitlines():
        try:
            facts.append(_fact_of(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            left_out += 1
    return Facts.of(facts, left_out)


@contextmanager
def gathered() -> Iterator[Path | None]:
    """A new private file for facts, removed at the end; None where no file can be made."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="joulegate-", suffix=".facts.jsonl")
    except OSError:  # a read-only image without a temporary folder
        yield None
        return
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _fact_of(line: dict[str, Any]) -> Fact:
    """The fact of a parsed line; raises ``ValueError`` for values that a record cannot take."""
    sort = line.pop("fact")
    _check_text(line["name"], _LONGEST_NAME)
    if sort == "quality":
        fact = QualityFact(**line)
        _check(type(fact.value) in (int, float) and isfinite(fact.value))
        _check(fact.n is None or (type(fact.n) is int and fact.n >= 0))
        _check(type(fact.higher_is_better) is bool)
        return replace(fact, value=float(fact.value))
    _check(sort == "work")
    work = WorkFact(**line)
    whole = (work.amount, work.repeats, work.start_ns, work.end_ns)
    _check(all(type(number) is int for number in whole))
    _check(work.amount >= 0 and work.repeats >= 1 and work.start_ns < work.end_ns)
    _check_text(work.unit, _LONGEST_UNIT)
    return work


def _check(holds: bool) -> None:  # noqa: FBT001 -- a condition
    if not holds:
        raise ValueError


def _check_text(text: object, longest: int) -> None:
    _check(isinstance(text, str) and 0 < len(text) <= longest and text.isprintable())
