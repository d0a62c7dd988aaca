"""Where Joulegate keeps its state on this machine: one private folder.

It holds the address and the token of the server that ``joulegate up`` started,
its database, and the records that could not be sent yet.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from joulegate.core.errors import UnavailableError

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The folder ``$JOULEGATE_HOME``, by default ``~/.local/share/joulegate``; it need not exist yet.

    ``environment`` is that of the process unless given. Raises
    :class:`UnavailableError` where the variable is unset and the user has no home.
    """
    chosen = (os.environ if environment is None else environment).get("JOULEGATE_HOME")
    if chosen:
        return Path(chosen)
    try:
        return Path.home() / ".local/share/joulegate"
    except RuntimeError as error:
        raise UnavailableError("this user has no home folder: set JOULEGATE_HOME") from error


def make_private(folder: Path) -> Path:
    """Make ``folder`` (0700) where it does not exist; returns it. Raises :class:`UnavailableError`."""
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file (0600) so that it is there whole or not at all, even after a power cut.

    The folder must exist. Raises :class:`UnavailableError`; nothing is left behind then.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise UnavailableError(f"cannot write in {path.parent}: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:  # mkstemp makes it 0600
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise UnavailableError(f"cannot write {path}: {error.strerror or error}") from error


def read_private(path: Path) -> str | None:
    """The stripped text of a file, None where there is none; :class:`UnavailableError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"cannot read {path}: {error}") from error


def _sync_folder(folder: Path) -> None:
    # A rename is durable only when the folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
