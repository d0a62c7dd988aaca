"""A second opinion on a run's energy, from another tool that measures beside us.

It is asked for by JOULEGATE_CODECARBON, which names the country as CodeCarbon wants it, and runs in a process of its
own: what it imports, prints, catches and spends is not the run's. Only its energies are taken. They stand beside ours,
are never charged and never added; its factors are not used at all.
"""

from __future__ import annotations

import json
import re
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from joulegate.core.records import Opinion
from joulegate.core.units import Energy

COUNTRY: Final = "JOULEGATE_CODECARBON"

_PROGRAM: Final = "joulegate.integrations.codecarbon"
_NAME: Final = "codecarbon"
_READY_S: Final = 20.0
"""How long the run waits for it to begin; importing and looking around take it 2-3 s on an idle machine."""
_ANSWER_S: Final = 15.0
_LONGEST_REASON: Final = 253


class SecondOpinion:
    """One run of CodeCarbon beside a run; nothing here raises: what goes wrong is the reason for having no figure."""

    def __init__(self, country: str, uuids: Sequence[str], environment: Mapping[str, str]) -> None:
        """Prepare; ``uuids`` are the GPUs that it is asked about."""
        self._words = [sys.executable, "-m", _PROGRAM, country, *uuids]
        self._environment = environment
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reason = ""

    def start(self) -> None:
        """Begin, and wait until it measures, so that both windows are nearly one."""
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="joulegate-", ignore_cleanup_errors=True)
            with self._complaints.open("wb") as complaints:  # a pipe that nobody reads would hold it up
                self._process = subprocess.Popen(
                    self._words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    env=_surroundings(self._environment, self._folder.name),
                    cwd=self._folder.name,
                    start_new_session=True,  # Ctrl-C is the command's business
                )
        except OSError as error:
            self._reason = f"cannot start it: {error.strerror}"
            return
        if self._line(self._process, _READY_S) != b"ready\n":
            self._reason = self._failed(self._process)

    def stop(self) -> Opinion:
        """End it, and say what it found."""
        process = self._process
        found = None
        if process is not None and not self._reason:
            try:
                said, _ = process.communicate(timeout=_ANSWER_S)
                found = _opinion_of(said)
            except (subprocess.TimeoutExpired, OSError, ValueError, KeyError, TypeError):
                self._reason = self._failed(process)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        return found or Opinion(_NAME, None, None, 0, self._reason or "it did not answer")

    @property
    def _complaints(self) -> Path:
        return Path(self._folder.name if self._folder else "", "complaints")

    def _line(self, process: subprocess.Popen[bytes], within_s: float) -> bytes:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            return process.stdout.readline() if selector.select(within_s) else b""

    def _failed(self, process: subprocess.Popen[bytes]) -> str:
        """Why there is no answer: the last line of its complaints."""
        process.kill()
        process.wait()
        lines = self._complaints.read_text("utf-8", "replace").strip().splitlines()
        text = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", lines[-1]) if lines else "it did not answer"
        return text[:_LONGEST_REASON]


def _surroundings(environment: Mapping[str, str], folder: str) -> dict[str, str]:
    """The environment of a process that reads no configuration of the user's."""
    kept = {name: value for name, value in environment.items() if not name.lower().startswith("codecarbon_")}
    return {**kept, "HOME": folder, "CODECARBON_TELEMETRY": "disabled", "PYTHONWARNINGS": "ignore"}


def _opinion_of(said: bytes) -> Opinion:
    """The opinion in its answer; raises ``ValueError``, ``KeyError`` or ``TypeError`` where there is none."""
    answer = json.loads(said)
    energies = (answer["accelerator_mj"], answer["host_mj"])
    accelerator, host = (None if mj is None else Energy(int(mj)) for mj in energies)
    return Opinion(str(answer["tool"]), accelerator, host, int(answer["duration_ns"]), str(answer["reason"]))
