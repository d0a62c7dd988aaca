"""A load for an NVIDIA GPU that needs nothing but the driver: matrix products, compiled from PTX when it starts.

Runs as a process of its own, ``python -m bench.cuda DEVICE SECONDS ON_MS PERIOD_MS``, so that the meter's own cost is
not mixed with it. Busy for ON_MS of every PERIOD_MS; equal figures mean busy all the time.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any, Final

_SIZE: Final = 1024
_TILE: Final = 16

_PTX: Final = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry product(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u32 pn)
{
  .reg .pred %p; .reg .b32 %r<12>; .reg .b64 %d<12>; .reg .f32 %f<4>;
  ld.param.u64 %d1, [pa]; ld.param.u64 %d2, [pb]; ld.param.u64 %d3, [pc]; ld.param.u32 %r1, [pn];
  cvta.to.global.u64 %d1, %d1; cvta.to.global.u64 %d2, %d2; cvta.to.global.u64 %d3, %d3;
  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x; mad.lo.u32 %r5, %r2, %r3, %r4;
  mov.u32 %r2, %ctaid.y; mov.u32 %r3, %ntid.y; mov.u32 %r4, %tid.y; mad.lo.u32 %r6, %r2, %r3, %r4;
  mul.lo.u32 %r7, %r6, %r1; mul.wide.u32 %d4, %r7, 4; add.u64 %d4, %d1, %d4;
  mul.wide.u32 %d5, %r5, 4; add.u64 %d5, %d2, %d5; mul.wide.u32 %d6, %r1, 4;
  mov.f32 %f1, 0f00000000; mov.u32 %r8, 0;
next:
  ld.global.f32 %f2, [%d4]; ld.global.f32 %f3, [%d5]; fma.rn.f32 %f1, %f2, %f3, %f1;
  add.u64 %d4, %d4, 4; add.u64 %d5, %d5, %d6; add.u32 %r8, %r8, 1;
  setp.lt.u32 %p, %r8, %r1; @%p bra next;
  add.u32 %r9, %r7, %r5; mul.wide.u32 %d7, %r9, 4; add.u64 %d7, %d3, %d7; st.global.f32 [%d7], %f1;
  ret;
}
\0"""


class Driver:
    """The few calls of libcuda that a load needs; raises ``RuntimeError`` with the name of the one that failed."""

    def __init__(self, device: int) -> None:
        """Make a context and compile the product."""
        self._cuda = ctypes.CDLL("libcuda.so.1")
        handle, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._function = ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(handle), device)
        self._call("cuCtxCreate_v2", ctypes.byref(context), 0, handle)
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(_PTX))
        self._call("cuModuleGetFunction", ctypes.byref(self._function), module, b"product")
        self._matrices = [self._zeros() for _ in range(3)]

    def _call(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 -- what C takes
        code = int(getattr(self._cuda, name)(*arguments))
        if code:
            message = f"{name} failed with {code}"
            raise RuntimeError(message)

    def _zeros(self) -> ctypes.c_uint64:
        address, length = ctypes.c_uint64(), 4 * _SIZE * _SIZE
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(length))
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(length))
        return address

    def product(self) -> None:
        """One product of two matrices, waited for."""
        values = [*self._matrices, ctypes.c_uint32(_SIZE)]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        blocks = _SIZE // _TILE
        self._call("cuLaunchKernel", self._function, blocks, blocks, 1, _TILE, _TILE, 1, 0, None, pointers, None)
        self._call("cuCtxSynchronize")


def main(device: str, seconds: str, on_ms: str, period_ms: str) -> None:
    """Be busy for ON_MS of every PERIOD_MS until SECONDS have passed."""
    driver = Driver(int(device))
    on, period = float(on_ms) / 1000, float(period_ms) / 1000
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < float(seconds):
        if passed % period < on:
            driver.product()
        else:
            time.sleep(min(period - passed % period, 0.001))


if __name__ == "__main__":
    main(*sys.argv[1:])
