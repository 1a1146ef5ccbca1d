"""The little of CUDA that running an engine takes, from the driver's own library: no pycuda, no CUDA toolkit.

The driver API is used (libcuda.so.1) rather than the runtime's: its name is the same under every JetPack.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError

if TYPE_CHECKING:
    import numpy as np  # not at run time: edge.doctor looks for the GPU where nothing is installed yet

LIBRARY = "libcuda.so.1"
# CUdevice_attribute in cuda.h
_MULTIPROCESSORS, _CAPABILITY_MAJOR, _CAPABILITY_MINOR = 16, 75, 76
# Where a driver names itself: on PCs and servers, on Jetsons.
_DRIVER_FILES = ("/proc/driver/nvidia/version", "/etc/nv_tegra_release")

# CUdeviceptr is as wide as a pointer.
_SIGNATURES = {
    "cuInit": [c_uint],
    "cuDeviceGet": [c_void_p, c_int],
    "cuDeviceGetName": [c_char_p, c_int, c_int],
    "cuDeviceGetAttribute": [c_void_p, c_int, c_int],
    "cuDriverGetVersion": [c_void_p],
    "cuDevicePrimaryCtxRetain": [c_void_p, c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuStreamCreate": [c_void_p, c_uint],
    "cuStreamSynchronize": [c_void_p],
    "cuMemAlloc_v2": [c_void_p, c_size_t],
    "cuMemFree_v2": [c_void_p],
    "cuMemcpyHtoDAsync_v2": [c_void_p, c_void_p, c_size_t, c_void_p],
    "cuMemcpyDtoHAsync_v2": [c_void_p, c_void_p, c_size_t, c_void_p],
    "cuGetErrorString": [c_int, c_void_p],
}


@dataclass(frozen=True)
class Gpu:
    """Which GPU there is.

    Attributes:
      name: as the driver calls it, "Orin" for example.
      compute_capability: like "8.7".
      driver: the driver's release, and the CUDA version it serves.
      multiprocessors: how many it has, which tells the modules that are all called "Orin" apart.
    """

    name: str
    compute_capability: str
    driver: str
    multiprocessors: int


def has_driver() -> bool:
    """Return whether there is an NVIDIA driver."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


class Cuda:
    """The first GPU, its memory, and one stream."""

    def __init__(self, library: str = LIBRARY) -> None:
        """Open the GPU.

        Args:
          library: the driver's library.

        Raises:
          EdgeError: if there is no driver or no GPU.
        """
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise EdgeError(
                f"there is no NVIDIA driver here: {error}\n  TensorRT engines are built and run on the device"
            ) from None
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, c_int
        self._call("cuInit", 0)
        device, context, stream = c_int(), c_void_p(), c_void_p()
        self._call("cuDeviceGet", byref(device), 0)
        # The primary context is the one that TensorRT uses too.
        self._call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._context = context
        self.use_here()
        self._call("cuStreamCreate", byref(stream), 0)
        self.stream: int = stream.value or 0
        self.gpu = self._describe(device)

    def use_here(self) -> None:
        """Make the GPU that of the calling thread, which is not always the one that opened it."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size_bytes: int) -> int:
        """Return the address of new memory on the GPU.

        Raises:
          EdgeError: if there is not enough.
        """
        address = c_void_p()
        self._call("cuMemAlloc_v2", byref(address), size_bytes)
        return address.value or 0

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", address)

    def to_gpu(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to an address, in the stream."""
        self._call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, self.stream)

    def from_gpu(self, array: np.ndarray, address: int) -> None:
        """Copy from an address into a contiguous array, in the stream."""
        self._call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, self.stream)

    def wait(self) -> None:
        """Wait for all that is in the stream.

        Raises:
          EdgeError: if any of it failed.
        """
        self._call("cuStreamSynchronize", self.stream)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = c_char_p()
            known = self._library.cuGetErrorString(code, byref(text)) == 0 and text.value
            said = text.value.decode() if known and text.value else "an error without a name"
            raise EdgeError(
                f"CUDA failed in {name}: {said} (code {code})\n  Is there a free NVIDIA GPU? Try nvidia-smi"
            )

    def _describe(self, device: c_int) -> Gpu:
        name, major, minor = ctypes.create_string_buffer(256), c_int(), c_int()
        version, multiprocessors = c_int(), c_int()
        self._call("cuDeviceGetName", name, len(name), device)
        self._call("cuDeviceGetAttribute", byref(major), _CAPABILITY_MAJOR, device)
        self._call("cuDeviceGetAttribute", byref(minor), _CAPABILITY_MINOR, device)
        self._call("cuDeviceGetAttribute", byref(multiprocessors), _MULTIPROCESSORS, device)
        self._call("cuDriverGetVersion", byref(version))
        cuda = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
        capability = f"{major.value}.{minor.value}"
        return Gpu(name.value.decode(), capability, f"{_driver()}, {cuda}", multiprocessors.value)


def _driver() -> str:
    for file in _DRIVER_FILES:
        if Path(file).is_file():
            return Path(file).read_text(errors="replace").splitlines()[0].strip()
    return "driver of unknown release"
