"""Checkpoints outlive the database in a folder and in a git repository; an old one never hides a newer."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joulegate import signing
from joulegate.core.checkpoints import Checkpoint
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate_api.anchors import Anchor, anchor_of, checkpoint_of, keep_in

KEY = signing.new_key("joulegate/x/default")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def note(size: int, fill: int = 7) -> str:
    return str(signing.signed(Checkpoint(KEY.name, size, bytes([fill]) * 32), [KEY]))


@pytest.fixture(params=["file", "git"])
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Anchor:
    if request.param == "git" and shutil.which("git") is None:
        pytest.skip("there is no git")
    return anchor_of(f"{request.param}:{tmp_path}/anchor")


def test_an_anchor_knows_nothing_and_then_the_newest(anchor: Anchor) -> None:
    assert anchor.newest() is None
    for size in (1, 5, 5):
        anchor.keep(note(size), size, NOW)
        assert anchor.newest() == note(size)
        assert checkpoint_of(anchor.newest() or "", anchor.name).size == size


def test_an_old_checkpoint_does_not_replace_a_newer_one_unless_a_loss_was_accepted(anchor: Anchor) -> None:
    anchor.keep(note(9), 9, NOW)
    anchor.keep(note(4), 4, NOW)
    assert anchor.newest() == note(9)
    anchor.keep(note(4), 4, NOW, although_smaller=True)
    assert anchor.newest() == note(4)


def test_a_folder_keeps_the_last_of_each_day(tmp_path: Path) -> None:
    anchor = anchor_of(f"file:{tmp_path}/anchor")
    for size, at in ((1, NOW), (2, NOW), (3, NOW + timedelta(days=1))):
        anchor.keep(note(size), size, at)
    kept = {path.name: path.read_text() for path in (tmp_path / "anchor").iterdir() if path.name != ".lock"}
    assert kept == {"checkpoint": note(3), "2026-11-24": note(2), "2026-11-25": note(3)}


def test_a_repository_keeps_every_one(tmp_path: Path) -> None:
    anchor = anchor_of(f"git:{tmp_path}/anchor")
    for size in (1, 2, 3):
        anchor.keep(note(size), size, NOW)
    command = ["git", "-C", str(tmp_path / "anchor"), "log", "--format=%s"]
    assert len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()) == 3
    (tmp_path / "anchor" / "checkpoint").write_text("edited, not committed")
    assert anchor.newest() == note(3)


def test_what_is_no_checkpoint_is_told_of(tmp_path: Path) -> None:
    anchor = anchor_of(f"file:{tmp_path}")
    (tmp_path / "checkpoint").write_text("rubbish")
    with pytest.raises(UnavailableError, match="no checkpoint"):
        checkpoint_of(anchor.newest() or "", anchor.name)


def test_one_anchors_fault_is_no_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    anchors = [anchor_of(f"file:{tmp_path}/file"), anchor_of(f"file:{tmp_path}/good")]
    faults = keep_in(anchors, note(1), 1, NOW, although_smaller=False)
    assert len(faults) == 1
    assert anchors[1].newest() == note(1)


@pytest.mark.parametrize("text", ["", "file:", "s3:bucket", "folder"])
def test_an_anchor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        anchor_of(text)
