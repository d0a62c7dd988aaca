"""The private folder: where it is, who may read it, and that a file is there whole or not at all."""

import stat
from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate.home import home, make_private, read_private, write_private


def test_the_variable_names_the_folder(tmp_path: Path) -> None:
    assert home({"JOULEGATE_HOME": str(tmp_path)}) == tmp_path


def test_without_the_variable_it_is_below_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home({}) == tmp_path / ".local/share/joulegate"


def test_nobody_else_may_read_what_is_written(tmp_path: Path) -> None:
    folder = make_private(tmp_path / "a" / "b")
    write_private(folder / "token", b"secret")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert read_private(folder / "token") == "secret"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(UnavailableError, match="cannot write"):
        write_private(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_folder_that_cannot_be_made_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"cannot make the folder .*/file/below: Not a directory"):
        make_private(tmp_path / "file" / "below")


def test_a_missing_file_is_none_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert read_private(tmp_path / "token") is None
    with pytest.raises(UnavailableError, match="cannot read"):
        read_private(tmp_path)
