"""Emissions of making an accelerator: a range between named sources that differ, apart from what it draws.

Published figures for one board differ by a factor of four, because they count other things. So
there is no figure, only a range with who says what. It is never added to operational carbon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from joulegate.core.accelerators import canonical_model
from joulegate.core.metering import Boundary
from joulegate.core.tallies import Slice
from joulegate.core.units import divide_half_even


@dataclass(frozen=True, slots=True)
class EmbodiedFigure:
    """What one source says that making one accelerator emits, in ug CO2e.

    ``gpu`` holds the words that a model's name has to have; ``product`` and ``scope`` say what the source counted.
    """

    gpu: str
    product: str
    ug: int
    scope: str
    publisher: str
    source: str
    licence: str


@dataclass(frozen=True, slots=True)
class EmbodiedRange:
    """Of one model in a report: time, the range for a whole board, and the sources that say so.

    ``low_share_ug`` and ``high_share_ug`` are the time's share of the expected life of a board (SCI, ISO/IEC
    21031: M = TE x TiR / EL), None where nobody told the expected life or no source knows the model.
    One source makes no range: low and high are then the same, and ``sources`` says that it is one.
    """

    gpu_model: str
    gpu_ns: int
    low_ug: int | None
    high_ug: int | None
    low_share_ug: int | None
    high_share_ug: int | None
    sources: tuple[EmbodiedFigure, ...]


def figures_for(model: str, figures: Iterable[EmbodiedFigure]) -> tuple[EmbodiedFigure, ...]:
    """What is published of a model, lowest first; nothing stands in for a model that nobody counted."""
    words = set(canonical_model(model).split())
    return tuple(sorted((f for f in figures if set(f.gpu.split()) <= words), key=lambda f: (f.ug, f.source)))


def embodied_of(
    slices: Iterable[Slice], figures: Sequence[EmbodiedFigure], expected_life_ns: int | None
) -> tuple[EmbodiedRange, ...]:
    """The range of each model that was used, at the accelerator boundary; time counts where it was reserved."""
    times: dict[str, int] = {}
    for part in slices:
        if part.boundary is Boundary.ACCELERATOR:
            times[part.gpu_model] = times.get(part.gpu_model, 0) + part.gpu_ns
    return tuple(_range(model, times[model], figures_for(model, figures), expected_life_ns) for model in sorted(times))


def _range(model: str, gpu_ns: int, sources: tuple[EmbodiedFigure, ...], expected_life_ns: int | None) -> EmbodiedRange:
    if not sources:
        return EmbodiedRange(model, gpu_ns, None, None, None, None, ())
    low, high = sources[0].ug, sources[-1].ug
    if not expected_life_ns:
        return EmbodiedRange(model, gpu_ns, low, high, None, None, sources)
    shares = [divide_half_even(ug * gpu_ns, expected_life_ns) for ug in (low, high)]
    return EmbodiedRange(model, gpu_ns, low, high, shares[0], shares[1], sources)
