"""The files of the window log: which there are, what is in them, and what of it is damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from joulegate.core.periods import parse_instant
from joulegate_operators.node.frames import Frame, frames

_NAME: Final = re.compile(r"windows-(\d{15})\.(\d{1,6})\.log")

WindowJson = dict[str, Any]
"""A window as it is kept and sent: the body's JSON."""


@dataclass(slots=True)
class Record:
    """Windows that were appended together, ``first`` to ``last``, and where they lie."""

    first: int
    last: int
    path: Path
    begin: int
    end: int
    since: datetime
    """When the earliest of these windows ended: from then on it waits."""


@dataclass(slots=True)
class Segment:
    """One file; a later generation stands for what it was made from."""

    path: Path
    first: int
    generation: int
    incarnation: str | None = None
    until: int = 0
    """The last number that this file stands for, where it replaces older files."""
    records: list[Record] = field(default_factory=list)
    damaged: list[Frame] = field(default_factory=list)
    through: dict[str, Any] = field(default_factory=dict)
    size: int = 0


def segment_path(folder: Path, first: int, generation: int) -> Path:
    """The name of a segment's file."""
    return folder / f"windows-{first:015d}.{generation}.log"


def segments(folder: Path) -> list[Segment]:
    """Every segment that is in force, in order; files that a later generation replaced are removed."""
    found = [_read(path, int(match[1]), int(match[2])) for path, match in _files(folder)]
    newest = sorted(found, key=lambda segment: (segment.first, segment.generation))
    kept: list[Segment] = []
    for segment in newest:
        rivals = [other for other in newest if other.generation > segment.generation]
        if any(other.first <= segment.first <= other.until for other in rivals):
            segment.path.unlink(missing_ok=True)
        else:
            kept.append(segment)
    return kept


def windows_in(record: Record) -> list[WindowJson] | None:
    """The windows of a record, None where the file no longer says what was written."""
    try:
        with record.path.open("rb") as file:
            file.seek(record.begin)
            data = file.read(record.end - record.begin)
    except OSError:
        return None
    found = list(frames(data))
    if len(found) != 1 or found[0].content is None:
        return None
    windows: list[WindowJson] = json.loads(found[0].content)["windows"]
    return windows


def content_of(windows: list[WindowJson], through: dict[str, Any]) -> bytes:
    """What a record holds."""
    return json.dumps({"windows": windows, "through": through}, separators=(",", ":"), allow_nan=False).encode()


def head_of(incarnation: str, until: int = 0) -> bytes:
    """What the first frame of a segment holds."""
    return json.dumps({"incarnation": incarnation, "until": until}, separators=(",", ":")).encode()


def record_at(path: Path, begin: int, end: int, windows: list[WindowJson]) -> Record:
    """The place of windows that were written."""
    numbers = [number for window in windows for number in (window["window_seq"], *window["replaces"])]
    since = min(parse_instant(window["end"], "end") for window in windows)
    return Record(min(numbers), max(numbers), path, begin, end, since)


def _files(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted(folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            yield path, match


def _read(path: Path, first: int, generation: int) -> Segment:
    segment = Segment(path, first, generation)
    data = path.read_bytes()
    segment.size = len(data)
    for frame in frames(data):
        content = None
        if frame.content is not None:
            with suppress(ValueError):
                content = json.loads(frame.content)
        if not isinstance(content, dict):
            segment.damaged.append(Frame(data[frame.begin : frame.end], frame.begin, frame.end))
        elif "incarnation" in content:
            segment.incarnation, segment.until = content["incarnation"], content["until"]
        else:
            segment.through.update(content["through"])
            segment.records.append(record_at(path, frame.begin, frame.end, content["windows"]))
    return segment
