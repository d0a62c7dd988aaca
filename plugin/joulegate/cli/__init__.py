"""The command ``joulegate``, for people.

What is *not* done here: nothing is measured while a run goes on (that is
``joulegate-run``, which needs no extra), and nothing is priced or decided: the
commands ask the API, or apply a rule of :mod:`joulegate.core` to a file.
"""

from __future__ import annotations

import importlib.util
import sys

_NEEDED = ("typer", "rich", "yaml")
_INTERRUPTED = 130


def main() -> int:
    """Run the command of this process's arguments; returns its exit code.

    0 done or allowed, 1 error, 2 usage, 3 refused or check failed.
    """
    missing = [name for name in _NEEDED if not _is_installed(name)]
    if missing:
        sys.stderr.write(
            f"joulegate: the command needs the extra cli ({missing[0]} is missing): pip install 'joulegate[cli]'\n"
        )
        return 1
    try:
        from joulegate.cli.program import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # while it was still being imported
        return _INTERRUPTED


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # in sys.modules, but put there as absent
        return False
