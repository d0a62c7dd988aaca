"""Readers of accelerators: what every one of them can do, and which one is used.

Nothing here guesses. Where there is a GPU, NVML is read. A recording is played
only where somebody asked for it by name. Otherwise nothing is measured, and the
reason is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from joulegate.core.curve import Reading
from joulegate.core.errors import UnavailableError
from joulegate.core.metering import Methods
from joulegate.core.sensors import Calibration, Sensor

__all__ = ["Device", "GpuReader", "open_reader"]


@dataclass(frozen=True, slots=True)
class Device:
    """One physical accelerator; ``uuid`` is its identity, ``index`` moves.

    ``flags`` are what every figure of it has to carry (a replay, module scope,
    an assumed sensor). ``calibration`` is this board's own, where somebody made one.
    """

    uuid: str
    model: str
    index: int
    enforced_limit_mw: int | None
    sensor: Sensor
    flags: tuple[str, ...] = ()
    calibration: Calibration | None = None


class GpuReader(Protocol):
    """Reads devices; a context manager that lets go of the driver at its end."""

    source: str
    """``nvml`` or ``replayed``: the ``source`` of an EfficiencyRecord."""
    methods: Methods

    def devices(self) -> tuple[Device, ...]:
        """The devices that can be read, in the order of their indices."""

    def read(self, device: Device) -> Reading:
        """What the device says now.

        A field that cannot be read is None. Raises :class:`UnavailableError` where
        the device does not answer at all (lost, driver gone).
        """

    def close(self) -> None:
        """Let go of the driver; may be called twice."""

    def __enter__(self) -> Self:
        """Use as a context manager."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""


def open_reader(replay: str | None = None, key: str = "") -> GpuReader:
    """NVML where it finds a device; else the recording that ``replay`` names; else nothing.

    ``replay`` is the name of a recording in the package (``a100_square``) or the
    path of a trace file; ``key`` (a record's id) gives the phase it starts at.
    Raises :class:`UnavailableError` with the reason where nothing can be read.
    """
    from joulegate.gpu.nvml import NvmlReader  # noqa: PLC0415 - 0.1 s, and other people's processes import this

    try:
        reader = NvmlReader()
    except UnavailableError as error:
        reason = str(error)
    else:
        if reader.devices():
            return reader
        reader.close()
        reason = "NVML finds no GPU"
    if not replay:
        raise UnavailableError(reason)
    from joulegate.gpu.replay import ReplayReader  # noqa: PLC0415

    return ReplayReader.named(replay, key)
