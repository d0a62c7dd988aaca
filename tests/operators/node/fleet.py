"""Boards whose true energy is known, for tests of the node meter without a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from joulegate.core.curve import Reading
from joulegate.core.errors import UnavailableError
from joulegate.core.metering import NVML
from joulegate.core.sensors import SENSORS
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import Device

SENSOR = SENSORS["a100"]


@dataclass
class Board:
    """One board: its power changes when it is told to, and its energy is exact."""

    uuid: str
    model: str = "NVIDIA A100-SXM4-40GB"
    limit_mw: int = 400_000
    power_mw: int = 60_000
    at_ns: int = 0
    energy_pj: int = 0
    counted_from_pj: int = 0
    answers: bool = True
    has_counter: bool = True

    def advance(self, at_ns: int) -> None:
        """Draw the present power until ``at_ns``."""
        self.energy_pj += self.power_mw * (at_ns - self.at_ns)
        self.at_ns = at_ns

    def draw(self, at_ns: int, power_mw: int) -> None:
        """Change the power at ``at_ns``."""
        self.advance(at_ns)
        self.power_mw = power_mw

    def reload_driver(self) -> None:
        """Begin counting from zero."""
        self.counted_from_pj = self.energy_pj

    @property
    def energy_mj(self) -> int:
        """What the board has truly drawn."""
        return self.energy_pj // NS_PER_SECOND

    def reading(self, at_ns: int) -> Reading:
        """The counter and the power at ``at_ns``."""
        if not self.answers:
            raise UnavailableError(f"{self.uuid}: GPU is lost")
        self.advance(at_ns)
        counter = (self.energy_pj - self.counted_from_pj) // NS_PER_SECOND if self.has_counter else None
        return Reading(at_ns, counter, self.power_mw)

    def device(self, index: int = 0) -> Device:
        """The board as a reader shows it."""
        return Device(self.uuid, self.model, index, self.limit_mw, SENSOR)


@dataclass
class FleetReader:
    """Reads boards at the instant of a clock that the test moves; the protocol of ``joulegate.gpu``."""

    boards: list[Board]
    now_ns: int = 0
    source: str = "nvml"
    methods = NVML
    closed: bool = field(default=False)

    def devices(self) -> tuple[Device, ...]:
        return tuple(board.device(index) for index, board in enumerate(self.boards))

    def read(self, device: Device) -> Reading:
        return self.board(device.uuid).reading(self.now_ns)

    def board(self, uuid: str) -> Board:
        return next(board for board in self.boards if board.uuid == uuid)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
