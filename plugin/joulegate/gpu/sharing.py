"""What is known of a GPU that several use at once: its MIG devices, and the processes on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from joulegate.gpu import Device


@dataclass(frozen=True, order=True, slots=True)
class Part:
    """One MIG device: its UUID, its GPU instance, and how many compute slices it has."""

    uuid: str
    instance: int
    slices: int


@dataclass(frozen=True, slots=True)
class Parts:
    """How a GPU is cut: ``slices`` in all (7, on some boards 4), and the MIG devices there are."""

    slices: int
    parts: tuple[Part, ...]


@runtime_checkable
class SharingReader(Protocol):
    """What a reader may tell of sharing, beside the protocol of :class:`joulegate.gpu.GpuReader`."""

    def parts(self, device: Device) -> Parts | None:
        """The MIG devices; None where the GPU is not cut. Takes tens of milliseconds: not for every sample."""

    def use(self, device: Device, since_us: int) -> tuple[Mapping[int, int], int] | None:
        """Use since an instant of the driver's clock: percent by process id, and the newest instant.

        Process ids are the host's. None where the driver does not tell (MIG, old boards).
        """

    def part_use(self, device: Device, parts: Parts) -> Mapping[str, int] | None:
        """Use of each MIG device since the last question, by UUID: percent x slices x milliseconds.

        None where the driver does not tell of every one: boards before Hopper, or the first question.
        """
