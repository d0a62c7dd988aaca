"""``joulegate-run [options] -- CMD...``: runs a command as it would run by itself, and measures it.

The command keeps the terminal, its streams, its signals and its exit code. What
was measured is one line on stderr and one record, sent or kept. Standard
library only, so that ``python3 -m joulegate.run`` works in other people's images.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from joulegate import facts
from joulegate.core.errors import JoulegateError
from joulegate.core.records import Kind, RunOutcome
from joulegate.delivery import deliver
from joulegate.facts import Facts
from joulegate.identity import as_line, run_of
from joulegate.recording import Recording, Subject

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""Exit codes of a command that cannot be started, as in POSIX shells."""

_FORWARDED: Final = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
    | {number for number in signal.valid_signals() if number >= getattr(signal, "SIGRTMIN", signal.NSIG)}
)
"""Sent on to the command. Stopping and continuing (Ctrl-Z, fg) act on runner and command alike, unforwarded."""

_OF_THE_TERMINAL: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
_SENT_BY_THE_KERNEL: Final = 0x80
"""SI_KERNEL, the ``si_code`` of what a terminal sends: to the whole foreground group, so the command has it already."""

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end this process as the command ended."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options, command = _parse(words)
    if facts.is_inside_a_run(os.environ):
        _become(command)
    # Before there is a thread, NVML's among them: a signal goes to any thread that does not block it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, lambda *_: None)  # where it was ignored, no command's end would be told
    try:
        recording = Recording(os.environ, options.trace)
    except JoulegateError as error:
        _say(f"--trace: {error}")
        sys.exit(2)
    run = run_of(command, os.environ, fresh_uid=recording.record_id, name=options.name)
    subject = Subject(run, Kind(options.kind), as_line(options.model), as_line(options.variant))
    _end_as(_measured(command, recording, subject, mask))


def _measured(command: Sequence[str], recording: Recording, subject: Subject, mask: set[int]) -> int:
    """Run the command, with this signal mask, under the recording; its code, negative for the signal that killed it."""
    with facts.gathered() as gathered:
        inside = {facts.RUN_ID: subject.run.uid, facts.FILE: str(gathered or "")}
        recording.start()
        try:
            child = os.posix_spawnp(
                command[0],
                list(command),
                {**os.environ, **inside},
                setsigmask=mask,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these; a command does not expect that
            )
        except OSError as error:
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            recording.stop()
            _conclude(recording, subject, RunOutcome.FAILED, Facts(), f"cannot start it: {error.strerror}")
            return code
        code, told_to_end = _wait(child)
        recording.stop()
        said = facts.read(gathered) if gathered else Facts()
    outcome = RunOutcome.SUCCEEDED if code == 0 else RunOutcome.CANCELLED if told_to_end else RunOutcome.FAILED
    _conclude(recording, subject, outcome, said)
    return code


def _wait(child: int) -> tuple[int, bool]:
    """Wait for the command, forwarding signals; its code, and whether it was told to end."""
    told_to_end = False
    while True:
        number, from_terminal = _next_signal()
        if number == signal.SIGCHLD:
            code = _reap(child)
            if code is not None:
                return code, told_to_end
            continue
        told_to_end |= number in _ENDING
        if not from_terminal:
            os.kill(child, number)


def _next_signal() -> tuple[int, bool]:
    waited = {*_FORWARDED, signal.SIGCHLD}
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(waited)
        return found.si_signo, found.si_code == _SENT_BY_THE_KERNEL and found.si_signo in _OF_THE_TERMINAL
    number = signal.sigwait(waited)  # macOS does not tell who sent it; a person at the terminal is the likely one
    return number, number in _OF_THE_TERMINAL and sys.stdin is not None and sys.stdin.isatty()


def _reap(child: int) -> int | None:
    """Take every child that has ended, as the first process of a container must; the command's code if it is one."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)


def _conclude(
    recording: Recording, subject: Subject, outcome: RunOutcome, said: Facts, not_started: str | None = None
) -> None:
    name = subject.run.step or subject.run.uid
    try:
        record = recording.record(subject, outcome, said, began=not_started is None)
        summary = not_started or recording.summary(record)
        left_out = f"; {said.left_out} facts left out" if said.left_out else ""
        _say(f"{name}: {summary}{left_out}; {deliver(record, os.environ)}")
    except Exception as error:  # noqa: BLE001 -- the command's exit code is passed on, whatever fails in measuring it
        _say(f"{name}: no record: {error!r}")


def _end_as(code: int) -> NoReturn:
    """End as the command did: with its code, or killed by the same signal."""
    sys.stdout.flush()
    if code >= 0:
        sys.exit(code)
    number = -code
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
    )  # one core dump is enough
    if number not in {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    sys.exit(128 - code)  # the first process of a container survives its own signals


def _become(command: Sequence[str]) -> NoReturn:
    """Inside a run that is measured already: be the command, which hands its facts to the run around it."""
    try:
        os.execvp(command[0], list(command))  # noqa: S606 -- no shell is the point
    except OSError as error:
        _say(f"cannot start {command[0]}: {error.strerror}")
        sys.exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split at the first ``--``: what is before it is ours, what is after it the command."""
    parser = argparse.ArgumentParser(
        prog="joulegate-run",
        usage="joulegate-run [--name N] [--kind K] [--model M] [--variant V] [--trace F] -- CMD...",
        description="Runs CMD with its own exit code, streams and signals, measures it, and sends or keeps one record.",
        allow_abbrev=False,
    )
    parser.add_argument("--name", help="name of the step; by default the task's, or the command's")
    parser.add_argument(
        "--kind", default=Kind.OTHER.value, choices=[kind.value for kind in Kind], help="what the run is for"
    )
    parser.add_argument("--model", help="the model that is trained or used")
    parser.add_argument("--variant", help="which of its variants, such as dense, sparse or int8")
    parser.add_argument(
        "--trace", help="play this trace file instead of reading a GPU; every figure then says replayed"
    )
    at = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:at])
    command = list(words[at + 1 :])
    if not command or not command[0]:
        parser.error("no command: write it after --")
    return options, command


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # where nobody reads stderr any more, the exit code is still passed on
        print(f"joulegate-run: {line}", file=sys.stderr, flush=True)  # noqa: T201 -- a program


if __name__ == "__main__":
    main()
