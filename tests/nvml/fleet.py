"""The script of a fleet of GPUs that is not there, the library that plays it, and the truth about it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from joulegate.clock import boottime_ns

SOURCE = Path(__file__).with_name("fleet.c")
SONAME = "libnvidia-ml.so.1"
ALL = -1


class Kind(StrEnum):
    """What can happen to a GPU."""

    LOST = "lost"
    HANG = "hang"
    STUCK = "stuck"
    RESET = "reset"
    JUMP = "jump"
    RELOAD = "reload"


@dataclass(frozen=True)
class Event:
    """Something that happens ``at_ms`` and lasts ``ms``; a jump adds ``amount_mj`` to the counter."""

    kind: Kind
    gpu: int
    at_ms: float
    ms: float = 0.0
    amount_mj: float = 0.0


@dataclass(frozen=True)
class Process:
    """A process on a GPU, with its share of the multiprocessors' time, from a time to a time in ms."""

    pid: int
    memory: int
    percent: int
    from_ms: float = 0.0
    until_ms: float = float("inf")


@dataclass(frozen=True)
class Work:
    """Use of a MIG device, in percent of its time, from a time to a time in ms."""

    part: int
    percent: float
    from_ms: float
    until_ms: float


@dataclass(frozen=True)
class Gpu:
    """One board: what it is, what it draws (levels from times in ms, or a square wave of the first two) and shows."""

    uuid: str
    name: str = "NVIDIA GeForce RTX 3090"
    levels: Sequence[tuple[float, float]] = ((0, 250_000),)
    square: tuple[float, float] | None = None
    limit_mw: int = 350_000
    period_ms: float = 100.0
    window_ms: float = 100.0
    gain: float = 1.0
    offset_mw: float = 0.0
    counter: bool = True
    average: bool = True
    scope: int = 0
    mig: bool = False
    parts: int = 0
    """MIG devices of one slice each, GPU instances 1 and on; with a use of their own, see ``busy``."""
    busy: Sequence[float] = ()
    """Percent of the time that each part is used; 0 where not said."""
    gpm: bool = False
    """Whether the board tells it, as Hopper does."""
    works: Sequence[Work] = ()
    """Use of the parts beside that."""
    latency_us: int = 40
    processes: Sequence[Process] = ()

    def lines(self) -> list[str]:
        """The board in the script's form."""
        sensor = f"{self.period_ms} {self.window_ms} {self.gain} {self.offset_mw}"
        has = f"{int(self.counter)} {int(self.average)} {self.scope} {int(self.mig)}"
        return [
            f"gpu {self.uuid} {self.limit_mw} {sensor} {has} {self.latency_us} {self.name}",
            *(f"level {at} {power}" for at, power in self.levels),
            *([f"square {self.square[0]} {self.square[1]}"] if self.square else []),
            *(f"process {p.pid} {p.memory} {p.percent} {p.from_ms} {p.until_ms}" for p in self.processes),
            *(f"work {w.part} {w.percent} {w.from_ms} {w.until_ms}" for w in self.works),
            *([f"parts {self.parts}"] if self.parts else []),
            *(["gpm 1"] if self.gpm else []),
            *(f"busy {at} {percent}" for at, percent in enumerate(self.busy)),
        ]

    def drawn_mj(self, ms: float) -> float:
        """True energy from the start of the script to ``ms`` after it."""
        if self.square:
            period, on = self.square
            rounds, rest = divmod(ms, period)
            low, high = self.levels[0][1], self.levels[1][1]
            once = high * min(rest, on) + low * max(rest - on, 0)
            return (rounds * (high * on + low * (period - on)) + once) / 1000
        ends = [*(at for at, _ in self.levels[1:]), ms]
        return sum(power * max(0, min(end, ms) - at) for (at, power), end in zip(self.levels, ends, strict=True)) / 1000


@dataclass(frozen=True)
class Fleet:
    """GPUs and what happens to them, from ``start_ns`` of CLOCK_BOOTTIME on."""

    gpus: Sequence[Gpu]
    events: Sequence[Event] = ()
    start_ns: int = field(default_factory=boottime_ns)

    def write(self, folder: Path) -> Path:
        """The script as a file."""
        lines = [f"start {self.start_ns}", *(line for gpu in self.gpus for line in gpu.lines())]
        lines += [f"event {e.kind} {e.gpu} {e.at_ms} {e.ms} {e.amount_mj}" for e in self.events]
        path = folder / "fleet.txt"
        path.write_text("\n".join(lines) + "\n")
        return path

    def true_mj(self, gpu: int, start_ns: int, end_ns: int) -> float:
        """What a GPU really drew between two instants of CLOCK_BOOTTIME."""
        first, last = ((at - self.start_ns) / 1e6 for at in (start_ns, end_ns))
        return self.gpus[gpu].drawn_mj(last) - self.gpus[gpu].drawn_mj(first)

    def environment(self, library: Path, folder: Path) -> Mapping[str, str]:
        """The environment in which a program finds this fleet through the ordinary loader."""
        return {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "FLEET_SCRIPT": str(self.write(folder))}


def compile_library(folder: Path, *defines: str) -> Path:
    """Compile the library into ``folder``; raises ``CalledProcessError`` with what the compiler said."""
    library = folder / SONAME
    compiler = shlex.split(os.environ.get("CC", "cc"))
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{SONAME}"]
    names = [f"-D{define}" for define in defines]
    subprocess.run([*compiler, *options, *names, "-o", str(library), str(SOURCE)], check=True)
    return library
