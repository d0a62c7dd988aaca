"""How busy each MIG device was: NVML's performance monitoring (GPM), which Hopper and newer boards have.

NVML has no energy of a MIG device, and no use by process on one. GPM says for
what part of the time between two samples something ran on a GPU instance
(metric ``GRAPHICS_UTIL``). NVML API reference, "GPM Functions".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from joulegate.clock import boottime_ns
from joulegate.gpu.sharing import Part, Parts

_GRAPHICS_UTIL: Final = 1
_SUCCESS: Final = 0
_NS_PER_MS: Final = 1_000_000


@dataclass(slots=True)
class _Sample:
    """The last sample of a MIG device, and when it was taken."""

    handle: Any
    at_ns: int


@dataclass(slots=True)
class PartUse:
    """Keeps the last sample of each MIG device. For one thread at a time; ``nvml`` is pynvml, initialised."""

    nvml: Any
    _last: dict[str, _Sample] = field(default_factory=dict)

    def since_last(self, handle: Any, parts: Parts) -> dict[str, int] | None:  # noqa: ANN401 -- pynvml has no types
        """Percent x slices x milliseconds by UUID; None where one of them cannot be had."""
        try:
            if not self.nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                return None
            found = {part.uuid: self._of(handle, part) for part in parts.parts}
        except self.nvml.NVMLError:
            return None  # the next question begins anew from the samples that there are
        known = {uuid: amount for uuid, amount in found.items() if amount is not None}
        return known if len(known) == len(found) else None

    def _of(self, handle: Any, part: Part) -> int | None:  # noqa: ANN401 -- pynvml has no types
        """Use of one since its last sample; None where this is the first."""
        sample = self.nvml.nvmlGpmSampleAlloc()
        try:
            self.nvml.nvmlGpmMigSampleGet(handle, part.instance, sample)
        except self.nvml.NVMLError:
            self.nvml.nvmlGpmSampleFree(sample)
            raise
        now = _Sample(sample, boottime_ns())
        before, self._last[part.uuid] = self._last.get(part.uuid), now
        if before is None:
            return None
        try:
            percent = self._percent(before, now)
        finally:
            self.nvml.nvmlGpmSampleFree(before.handle)
        return round(percent * part.slices * (now.at_ns - before.at_ns) / _NS_PER_MS)

    def _percent(self, before: _Sample, now: _Sample) -> float:
        question = self.nvml.c_nvmlGpmMetricsGet_t()
        question.version = self.nvml.NVML_GPM_METRICS_GET_VERSION
        question.numMetrics = 1
        question.sample1, question.sample2 = before.handle, now.handle
        question.metrics[0].metricId = _GRAPHICS_UTIL
        answer = self.nvml.nvmlGpmMetricsGet(question).metrics[0]
        if answer.nvmlReturn != _SUCCESS:
            raise self.nvml.NVMLError(answer.nvmlReturn)
        return min(max(float(answer.value), 0.0), 100.0)

    def forget(self) -> None:
        """Let go of every sample, before the library is shut."""
        for sample in self._last.values():
            try:
                self.nvml.nvmlGpmSampleFree(sample.handle)
            except self.nvml.NVMLError:
                continue  # the driver went first
        self._last.clear()
