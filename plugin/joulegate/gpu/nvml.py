"""NVIDIA GPUs through NVML: the only module that imports pynvml.

One call per GPU reads the energy counter and both powers, each with its own
return code. A GPU is known by its UUID; after a driver reload or a reset it is
looked for again under any index.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Final, Self

from joulegate.clock import boottime_ns
from joulegate.core.curve import Reading
from joulegate.core.errors import UnavailableError
from joulegate.core.metering import NVML
from joulegate.core.sensors import sensor_of_model
from joulegate.gpu import Device

_ENERGY: Final = 83
_AVERAGE: Final = 185
_INSTANT: Final = 186
_GPU, _MODULE = 0, 1
_FIELDS: Final = (_ENERGY, (_INSTANT, _GPU), (_AVERAGE, _GPU), (_INSTANT, _MODULE))
"""NVML API reference, "Field Value Enums" and "Power Scopes"."""

_SUCCESS: Final = 0
_UNSIGNED_INT: Final = 1


class NvmlReader:
    """Reads the GPUs of this machine; raises :class:`UnavailableError` where there is no NVML."""

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
        self._open = False
        self._connect()

    def _connect(self) -> None:
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise UnavailableError(f"NVML: {error}") from error
        self._open = True
        self._handles = dict(self._found())

    def _found(self) -> list[tuple[str, Any]]:
        found = []
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                found.append((str(self._nvml.nvmlDeviceGetUUID(handle)), handle))
            except self._nvml.NVMLError:
                continue  # a GPU that is lost has neither; the others are read
        return found

    def devices(self) -> tuple[Device, ...]:
        """Every GPU that answers."""
        return tuple(self._describe(index, uuid) for index, uuid in enumerate(self._handles))

    def _describe(self, index: int, uuid: str) -> Device:
        handle = self._handles[uuid]
        model = str(self._ask("nvmlDeviceGetName", handle) or "unknown model")
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        sensor, known = sensor_of_model(model)
        flags = () if known else ("sensor_assumed",)
        return Device(uuid, model, index, limit, sensor, flags)

    def _ask(self, function: str, handle: Any) -> Any:  # noqa: ANN401 -- pynvml has no types
        """What an optional call says, None where this driver or GPU does not have it."""
        try:
            return getattr(self._nvml, function)(handle)
        except self._nvml.NVMLError:
            return None

    def read(self, device: Device) -> Reading:
        """Counter and powers by one call; a field that fails is None."""
        before = boottime_ns()
        try:
            values = self._nvml.nvmlDeviceGetFieldValues(self._handle(device.uuid), list(_FIELDS))
        except self._nvml.NVMLError as error:
            self._handles.pop(device.uuid, None)
            raise UnavailableError(f"{device.uuid}: {error}") from error
        at_ns = (before + boottime_ns()) // 2
        counter, instant, average, module = (_number(value) for value in values)
        return Reading(at_ns, counter, module if instant is None else instant, average)

    def _handle(self, uuid: str) -> Any:  # noqa: ANN401 -- pynvml has no types
        """The handle of a GPU; looked for again after it was lost."""
        with self._lock:
            if uuid not in self._handles:
                self.close()
                self._connect()
            try:
                return self._handles[uuid]
            except KeyError:
                raise UnavailableError(f"{uuid} is not there") from None

    def close(self) -> None:
        """Let go of the driver."""
        if self._open:
            self._open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return  # the driver went first

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _number(value: Any) -> int | None:  # noqa: ANN401 -- pynvml has no types
    """A field's whole number, None where its own return code is not success."""
    if value.nvmlReturn != _SUCCESS:
        return None
    return int(value.value.uiVal if value.valueType == _UNSIGNED_INT else value.value.ullVal)
