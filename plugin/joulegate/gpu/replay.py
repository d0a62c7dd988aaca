"""A recording of a real board's power, played as if the board were here.

The recording (power of an external meter on even steps of time) is cut to whole
periods of its load and played round and round, from a phase that the key (a
record's id) decides. What comes out is a counter that is refreshed as the
board's is. It is no measurement of this machine: every figure says ``replayed``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from joulegate.clock import boottime_ns
from joulegate.core.curve import Reading
from joulegate.core.errors import InvalidInputError
from joulegate.core.metering import REPLAYED
from joulegate.core.sensors import SENSORS, Sensor
from joulegate.core.traces import parse_trace
from joulegate.gpu import Device

_PJ_PER_MJ: Final = 1_000_000_000
"""mW x ns is picojoules."""


class Loop:
    """Whole load periods of a recording, repeated for ever; its energy at any time, exact."""

    def __init__(self, times_ns: Sequence[int], powers_mw: Sequence[int]) -> None:
        """Cut to whole periods; raises :class:`InvalidInputError` where there are fewer than two."""
        begin, end = whole_periods(powers_mw)
        self.period_ns = times_ns[end] - times_ns[begin]
        steps = [b - a for a, b in pairwise(times_ns[begin : end + 1])]
        self._offsets = [time - times_ns[begin] for time in times_ns[begin : end + 1]]
        energies = (power * step for power, step in zip(powers_mw[begin:end], steps, strict=True))
        self._energies_pj = [0, *accumulate(energies)]
        self._powers_mw = powers_mw[begin:end]

    def energy_mj(self, time_ns: int) -> int:
        """Energy from the start of the loop to ``time_ns`` (zero or more), rounded down."""
        rounds, offset = divmod(time_ns, self.period_ns)
        step = bisect_right(self._offsets, offset) - 1
        partial = self._energies_pj[step] + self._powers_mw[step] * (offset - self._offsets[step])
        return (rounds * self._energies_pj[-1] + partial) // _PJ_PER_MJ


def whole_periods(powers: Sequence[int]) -> tuple[int, int]:
    """The first and the last rise of a load that switches on and off, as indices.

    A rise goes from the lower quarter of the range to the upper quarter. Raises
    :class:`InvalidInputError` where there are fewer than two: nothing repeats.
    """
    low, high = min(powers), max(powers)
    lower, upper = low + (high - low) // 4, high - (high - low) // 4
    rises: list[int] = []
    below = False
    for index, power in enumerate(powers):
        if power <= lower:
            below = True
        elif power >= upper and below:
            rises.append(index)
            below = False
    if len(rises) <= 1:
        raise InvalidInputError("the recording has no load that repeats")
    return rises[0], rises[-1]


class ReplayReader:
    """Plays one recording as one board."""

    source = "replayed"
    methods = REPLAYED

    def __init__(
        self, loop: Loop, key: str, uuid: str, model: str, sensor: Sensor, clock: Callable[[], int] = boottime_ns
    ) -> None:
        """Start at the phase that ``key`` decides."""
        self._loop = loop
        self._clock = clock
        digest = int.from_bytes(sha256(key.encode()).digest())
        self._phase_ns = digest % loop.period_ns
        self._origin_ns = clock()
        self._device = Device(uuid, model, 0, None, sensor, ("replayed",))

    @classmethod
    def named(cls, name: str, key: str, clock: Callable[[], int] = boottime_ns) -> Self:
        """The recording of this name in the package, or the trace file at this path.

        Raises :class:`InvalidInputError` where there is none, or it cannot be played.
        """
        model, sensor = "NVIDIA A100-PCIE-40GB (replayed)", SENSORS["a100"]
        packaged = files("joulegate").joinpath("data", f"{name}.meter.csv")
        if name.isidentifier() and packaged.is_file():
            text = packaged.read_text(encoding="utf-8")
        else:
            try:
                text = Path(name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidInputError(f"no recording can be read there: {error}", name) from None
            model, sensor = f"{Path(name).name} (replayed)", SENSORS["gh200"]
        trace = parse_trace(text, name)
        powers = trace.powers_mw()
        label = f"REPLAY-{sha256(text.encode()).hexdigest()[:16]}"
        return cls(Loop(trace.times_ns, powers), key, label, model, sensor, clock)

    def devices(self) -> tuple[Device, ...]:
        """The one board."""
        return (self._device,)

    def read(self, device: Device) -> Reading:
        """The counter of the board, as it was refreshed last."""
        now = self._clock()
        refresh = device.sensor.period_ns
        since = (now - self._origin_ns + self._phase_ns) // refresh * refresh
        return Reading(now, counter_mj=self._loop.energy_mj(since))

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""
