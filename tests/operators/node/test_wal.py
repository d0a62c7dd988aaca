"""What was appended is there after any damage, or is named; what was acknowledged stays a day."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joulegate.core.metering import Boundary, Method
from joulegate.windows import WindowBody
from joulegate_operators.node import frames as frames_module
from joulegate_operators.node.wal import BUDGET, KEPT, WindowLog

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def window(number: int, uuid: str = "GPU-1", pod_uid: str | None = "a", minutes: int = 15) -> WindowBody:
    """The ``number``-th window of a device that draws 1,000 mJ in each."""
    step = timedelta(minutes=minutes)
    return WindowBody(
        window_seq=0,
        device_uuid=uuid,
        start=START + number * step,
        end=START + (number + 1) * step,
        energy_start_mj=number * 1_000,
        energy_end_mj=number * 1_000 + 1_000,
        active_mj=900,
        idle_mj=100,
        allocated_gpu_ns=10,
        method=Method.NVML_COUNTER,
        boundary=Boundary.ACCELERATOR,
        coverage=1.0,
        pod_uid=pod_uid,
        namespace="vision",
        pod="pod",
        container="main",
    )


def filled(folder: Path, count: int = 6) -> WindowLog:
    log = WindowLog(folder, "node-uid")
    for number in range(count):
        log.append([window(number), window(number, "GPU-2", "b")], {"GPU-1": number})
    return log


def all_windows(log: WindowLog) -> list[dict[str, object]]:
    return log.batch(10_000, 1 << 30)


def numbers(rows: list[dict[str, object]]) -> list[int]:
    found: list[int] = []
    for row in rows:
        found += [row["window_seq"], *row["replaces"]]  # type: ignore[list-item,misc]
    return sorted(found)


def energy(rows: list[dict[str, object]]) -> int:
    return sum(int(str(row[name] or 0)) for row in rows for name in ("active_mj", "idle_mj"))


def test_windows_are_numbered_from_zero_over_all_devices_and_survive_a_restart(tmp_path: Path) -> None:
    before = all_windows(filled(tmp_path))
    again = WindowLog(tmp_path, "node-uid")
    assert all_windows(again) == before
    assert numbers(before) == list(range(12))
    assert again.through == {"GPU-1": 5}
    again.append([window(6)], {})
    assert numbers(all_windows(again)) == list(range(13))


def test_an_incarnation_lasts_as_long_as_the_log(tmp_path: Path) -> None:
    name = filled(tmp_path / "a").incarnation
    assert WindowLog(tmp_path / "a", "node-uid").incarnation == name
    assert filled(tmp_path / "b").incarnation != name
    assert name.startswith("node-uid:")


def test_what_was_acknowledged_is_not_sent_again_unless_the_mark_goes_back(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.mark_sent(11)
    log.acknowledge(7, START)
    assert numbers(all_windows(log)) == [8, 9, 10, 11]
    again = WindowLog(tmp_path, "node-uid")
    assert numbers(all_windows(again)) == [8, 9, 10, 11]
    again.acknowledge(2, START)
    assert numbers(all_windows(again)) == list(range(3, 12))


def test_acknowledged_windows_stay_for_a_day_and_go_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulegate_operators.node.wal.SEGMENT", 1_000)
    log = filled(tmp_path)
    log.mark_sent(11)
    log.acknowledge(11, START)
    log.tidy(START + KEPT - timedelta(seconds=1))
    log.acknowledge(-1, START)
    assert numbers(all_windows(log)) == list(range(12))
    log.acknowledge(11, START)
    log.tidy(START + KEPT)
    assert len(list(tmp_path.glob("windows-*"))) == 1
    assert log.next_seq == 12
    assert WindowLog(tmp_path, "node-uid").next_seq == 12


def last_file(folder: Path) -> Path:
    return max(folder.glob("windows-*.log"))


def damaged_copies(folder: Path, target: Path) -> Iterator[tuple[str, Path]]:
    """The log with its last two records cut off at every byte, and with every byte of them changed."""
    name = last_file(folder).name
    data = last_file(folder).read_bytes()
    found = [frame for frame in frames_module.frames(data) if frame.content]
    begin = found[-2].begin
    for at in range(begin, len(data)):
        for kind, content in (
            ("cut", data[:at]),
            ("flipped", data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]),
        ):
            copy = target / f"{kind}-{at}"
            copy.mkdir()
            (copy / name).write_bytes(content)
            if (folder / "marks.log").exists():
                (copy / "marks.log").write_bytes((folder / "marks.log").read_bytes())
            yield kind, copy


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_f7_damage_at_every_byte_of_the_last_records_is_found_and_whole_records_live(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    filled(tmp_path / "log", 4)
    whole = all_windows(WindowLog(tmp_path / "log", "node-uid"))
    (tmp_path / "copies").mkdir()
    for turn, (kind, copy) in enumerate(damaged_copies(tmp_path / "log", tmp_path / "copies")):
        log = WindowLog(copy, "node-uid")
        rows = all_windows(log)
        kept = [row for row in rows if row in whole]
        at_boundary = kind == "cut" and not log.quarantined
        assert log.quarantined == 1 or at_boundary
        assert len(kept) >= (6 if kind == "flipped" else 4)
        if turn % 16 == 0:  # the disk is slow
            log.append([window(4), window(4, "GPU-2", "b")], {})
            after = all_windows(log)
            assert numbers(after) == list(range(max(numbers(after)) + 1))


def test_a_damaged_record_in_the_middle_becomes_a_window_of_nobodys_with_its_energy(tmp_path: Path) -> None:
    filled(tmp_path)
    path = last_file(tmp_path)
    data = bytearray(path.read_bytes())
    found = [frame for frame in frames_module.frames(bytes(data)) if frame.content]
    data[found[3].begin + 40] ^= 1
    path.write_bytes(bytes(data))
    log = WindowLog(tmp_path, "node-uid")
    rows = all_windows(log)
    assert numbers(rows) == list(range(12))
    assert energy(rows) == 12_000
    fillers = [row for row in rows if "log_damaged" in row["flags"]]  # type: ignore[operator]
    assert [(row["device_uuid"], row["pod_uid"]) for row in fillers] == [("GPU-1", None), ("GPU-2", None)]
    assert [path.name for path in (tmp_path / "quarantine").iterdir()]
    assert all_windows(WindowLog(tmp_path, "node-uid")) == rows


def test_records_that_were_sent_and_are_lost_at_the_end_leave_no_hole_and_no_number_is_used_twice(
    tmp_path: Path,
) -> None:
    log = filled(tmp_path)
    log.mark_sent(11)
    path = last_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    again = WindowLog(tmp_path, "node-uid")
    again.append([window(7), window(7, "GPU-2", "b")], {})
    rows = all_windows(again)
    assert numbers(rows) == list(range(14))
    assert energy(rows) == 16_000  # what was drawn in the hole is there, as nobody's


def refuse(monkeypatch: pytest.MonkeyPatch, function: str, error: int) -> None:
    def refusing(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, function, refusing)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("write", errno.EROFS),
        ("fsync", errno.EIO),
        ("fsync", errno.ENOSPC),
    ],
)
def test_f8_a_disk_that_refuses_loses_nothing_once_it_takes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: int
) -> None:
    log = filled(tmp_path, 2)
    with monkeypatch.context() as patch:
        refuse(patch, function, error)
        for _ in range(3):
            with pytest.raises(OSError, match=os.strerror(error)):
                log.append([window(2)], {})
    log.append([window(2), window(2, "GPU-2", "b")], {})
    rows = all_windows(log)
    assert numbers(rows) == list(range(6))
    assert all_windows(WindowLog(tmp_path, "node-uid")) == rows


def test_a_full_log_folds_what_was_never_sent_and_keeps_its_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joulegate_operators.node.wal.SEGMENT", 4_000)
    log = WindowLog(tmp_path, "node-uid", budget=60_000)
    for number in range(200):
        log.append([window(number, minutes=1), window(number, "GPU-2", None, minutes=1)], {})
        if number == 20:
            log.mark_sent(10)
    log.tidy(START)
    rows = all_windows(log)
    assert log.size <= 60_000
    assert log.folded > 0
    assert numbers(rows) == list(range(400))
    assert energy(rows) == 400_000
    assert not any(row["replaces"] for row in rows if int(str(row["window_seq"])) <= 10)
    assert all_windows(WindowLog(tmp_path, "node-uid")) == rows


def test_folding_stays_inside_a_quarter_hour(tmp_path: Path) -> None:
    from joulegate_operators.node.folding import fold  # noqa: PLC0415

    log = WindowLog(tmp_path, "node-uid")
    log.append([replace(window(number, minutes=1), pod_uid="a") for number in range(40)], {})
    rows = fold(all_windows(log))
    assert [row["end"] for row in rows] == ["2026-11-23T08:15:00Z", "2026-11-23T08:30:00Z", "2026-11-23T08:40:00Z"]
    assert [row["coverage"] for row in rows] == [1.0, 1.0, 1.0]


def quarter(number: int, pieces: int = 2) -> list[WindowBody]:
    """A quarter-hour of 8 boards in 7 parts each, that is cut into pieces by changes elsewhere on each board."""
    begin = START + number * QUARTER
    return [
        replace(
            window(number * pieces + piece, f"GPU-{gpu}", f"{gpu}-{part}"),
            start=begin + piece * QUARTER / pieces,
            end=begin + (piece + 1) * QUARTER / pieces,
        )
        for piece in range(pieces)
        for gpu in range(8)
        for part in range(7)
    ]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_f3_three_days_without_the_api_fit_whole_and_later_ones_are_folded_with_their_energy(tmp_path: Path) -> None:
    log = WindowLog(tmp_path, "node-uid")
    for number in range(72 * 4):
        log.append(quarter(number), {})
    log.tidy(START + timedelta(hours=72))
    three_days = log.size
    assert three_days < BUDGET / 4, "room for four times as many changes of holders"
    assert log.folded == 0
    log.close()
    small = WindowLog(tmp_path, "node-uid", budget=three_days)  # a disk on which no more would fit
    for number in range(72 * 4, 80 * 4):
        small.append(quarter(number), {})
    small.tidy(START + timedelta(hours=80))
    rows = small.batch(10**9, 1 << 40)
    assert small.size <= three_days
    assert small.folded > 0
    assert numbers(rows) == list(range(80 * 4 * 112))
    assert energy(rows) == 80 * 4 * 112 * 1_000
    small.close()
