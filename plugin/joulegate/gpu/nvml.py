"""NVIDIA GPUs through NVML: the only module that imports pynvml.

One call per GPU reads the energy counter and both powers, each with its own
return code. A GPU is known by its UUID; after a driver reload or a reset it is
looked for again under any index.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from joulegate.clock import boottime_ns
from joulegate.core.curve import Reading
from joulegate.core.errors import UnavailableError
from joulegate.core.metering import NVML
from joulegate.core.sensors import sensor_of_model
from joulegate.gpu import Device
from joulegate.gpu.gpm import PartUse
from joulegate.gpu.sharing import Part, Parts

_ENERGY: Final = 83
_AVERAGE: Final = 185
_INSTANT: Final = 186
_GPU, _MODULE = 0, 1
_FIELDS: Final = (_ENERGY, (_INSTANT, _GPU), (_AVERAGE, _GPU), (_INSTANT, _MODULE))
"""NVML API reference, "Field Value Enums" and "Power Scopes"."""

_SUCCESS: Final = 0
_UNSIGNED_INT: Final = 1
_NOT_FOUND: Final = 6
_SESSION_LOST: Final = (1, 9, 18)
"""Return codes after which the library must be initialised again: uninitialized, driver not loaded, driver replaced."""

_STALE_US: Final = 2_000_000
"""A value that the driver took longer ago than this is not a reading of now."""

_RETRY_NS: Final = 1_000_000_000
"""How long a GPU that is not there is left alone before it is looked for again."""


class NvmlReader:
    """Reads the GPUs of this machine; raises :class:`UnavailableError` where there is no NVML.

    May be used by several threads at once, one a GPU.
    """

    source = "nvml"
    methods = NVML

    def __init__(self) -> None:
        """Load the driver's library."""
        try:
            import pynvml  # noqa: PLC0415 - the one door, opened only when somebody measures
        except ImportError as error:
            raise UnavailableError("nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml
        self._lock = threading.Lock()
        self._handles: dict[str, Any] = {}
        self._part_use = PartUse(pynvml)
        self._open = self._closed = False
        self._looked_ns = 0
        try:
            self._connect()
        except pynvml.NVMLError as error:
            raise UnavailableError(f"NVML: {error}") from error

    def _connect(self) -> None:
        if not self._open:
            self._nvml.nvmlInit()
            self._open = True
        self._handles = dict(self._found())

    def _found(self) -> Iterator[tuple[str, Any]]:
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                yield str(self._nvml.nvmlDeviceGetUUID(handle)), handle
            except self._nvml.NVMLError:
                continue  # a GPU that is lost has neither; the others are read

    def devices(self) -> tuple[Device, ...]:
        """Every GPU that answers."""
        return tuple(self._describe(index, uuid) for index, uuid in enumerate(self._handles))

    def _describe(self, index: int, uuid: str) -> Device:
        handle = self._handles[uuid]
        model = str(self._ask("nvmlDeviceGetName", handle) or "unknown model")
        sensor, known = sensor_of_model(model)
        try:
            _, instant, average, module = self._values(uuid)
        except UnavailableError:  # said again when it is read
            instant = average = module = None
        mig = self._ask("nvmlDeviceGetMigMode", handle)
        flags = {
            "sensor_assumed": not known,
            "module_scope": module is not None and instant is None and average is None,
            "mig": mig is not None and mig[0] == 1,
        }
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        return Device(uuid, model, index, limit, sensor, tuple(flag for flag, is_set in flags.items() if is_set))

    def _ask(self, function: str, handle: Any) -> Any:  # noqa: ANN401 -- pynvml has no types
        """What an optional call says, None where this driver or GPU does not have it."""
        try:
            return getattr(self._nvml, function)(handle)
        except self._nvml.NVMLError:
            return None

    def read(self, device: Device) -> Reading:
        """Counter and powers by one call; a field that fails is None.

        A board that gives its power at module scope only (superchips) is read there; a driver that
        has no fields of power is asked in the old way. The reading is dated by the end of a call that took long.
        """
        before = boottime_ns()
        counter, instant, average, module = self._values(device.uuid)
        if instant is None and average is None and module is None:
            average = self._ask("nvmlDeviceGetPowerUsage", self._handle(device.uuid))
        after = boottime_ns()
        at_ns = max((before + after) // 2, after - device.sensor.period_ns // 2)
        return Reading(at_ns, counter, module if instant is None else instant, average)

    def parts(self, device: Device) -> Parts | None:
        """The MIG devices of a GPU; None where it is not cut. The driver takes 50-100 ms for some of these calls."""
        handle = self._handle(device.uuid)
        mode = self._ask("nvmlDeviceGetMigMode", handle)
        if mode is None or mode[0] != 1:
            return None
        slices = self._ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0
        found = []
        for index in range(slices):
            try:
                part = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
                uuid = str(self._nvml.nvmlDeviceGetUUID(part))
                instance = int(self._nvml.nvmlDeviceGetGpuInstanceId(part))
                size = int(self._nvml.nvmlDeviceGetAttributes(part).gpuInstanceSliceCount)
            except self._nvml.NVMLError:
                continue  # no instance of this index
            found.append(Part(uuid, instance, size))
        return Parts(slices, tuple(found))

    def use(self, device: Device, since_us: int) -> tuple[Mapping[int, int], int] | None:
        """Percent of the multiprocessors' time by process since an instant; None where the driver does not tell."""
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(self._handle(device.uuid), since_us)
        except self._nvml.NVMLError as error:
            return ({}, since_us) if error.value == _NOT_FOUND else None  # not found: nobody used it
        newest = max((int(sample.timeStamp) for sample in samples), default=since_us)
        return {int(sample.pid): int(sample.smUtil) for sample in samples if sample.timeStamp > since_us}, newest

    def part_use(self, device: Device, parts: Parts) -> Mapping[str, int] | None:
        """Use of each MIG device since the last question; None where the driver does not tell."""
        return self._part_use.since_last(self._handle(device.uuid), parts)

    def _values(self, uuid: str) -> list[int | None]:
        try:
            values = self._nvml.nvmlDeviceGetFieldValues(self._handle(uuid), list(_FIELDS))
        except self._nvml.NVMLError as error:
            with self._lock:
                self._handles.pop(uuid, None)
                if error.value in _SESSION_LOST:
                    self._shut()
            raise UnavailableError(f"{uuid}: {error}") from error
        now_us = time.time_ns() // 1_000
        return [_number(value, now_us) for value in values]

    def _handle(self, uuid: str) -> Any:  # noqa: ANN401 -- pynvml has no types
        """The handle of a GPU; one that was lost is looked for again, once a second."""
        with self._lock:
            if self._closed:
                raise UnavailableError("the reader is closed")
            if uuid not in self._handles and boottime_ns() - self._looked_ns > _RETRY_NS:
                self._looked_ns = boottime_ns()
                try:
                    self._connect()
                except self._nvml.NVMLError as error:
                    raise UnavailableError(f"NVML: {error}") from error
            try:
                return self._handles[uuid]
            except KeyError:
                raise UnavailableError(f"{uuid} is not there") from None

    def _shut(self) -> None:
        if self._open:
            self._open = False
            self._part_use.forget()
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return  # the driver went first

    def close(self) -> None:
        """Let go of the driver."""
        with self._lock:
            self._closed = True
            self._shut()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _number(value: Any, now_us: int) -> int | None:  # noqa: ANN401 -- pynvml has no types
    """A field's whole number, None where its own return code is not success or the driver took it long ago."""
    if value.nvmlReturn != _SUCCESS or (value.timestamp > 0 and now_us - value.timestamp > _STALE_US):
        return None
    return int(value.value.uiVal if value.valueType == _UNSIGNED_INT else value.value.ullVal)
