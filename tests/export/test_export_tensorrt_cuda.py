"""The GPU as `edge.engines.cuda` sees it, through a driver library of our own that a C compiler makes.

It has the functions of libcuda.so.1 that we call, with the types of cuda.h, and keeps "GPU memory" in this process: a
wrong order or width of arguments shows here and not first on a device.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from edge.engines.cuda import Cuda
from edge.errors import EdgeError

_DRIVER = r"""
#include <stdlib.h>
#include <string.h>
typedef unsigned long long CUdeviceptr;
static int stream_object, context_object;
static __thread int current;
int cuInit(unsigned flags) { return flags ? 1 : getenv("NO_GPU") ? 100 : 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 5; return ordinal; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Orin", size); return device != 5; }
int cuDeviceGetAttribute(int *value, int which, int device) {
  *value = which == 75 ? 8 : which == 76 ? 7 : which == 16 ? 14 : -1; return device != 5; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &context_object; return device != 5; }
int cuCtxSetCurrent(void *context) { current = context == &context_object; return !current; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &stream_object; return flags || !current; }
int cuStreamSynchronize(void *stream) { return stream != &stream_object; }
int cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
  if (size > (1u << 30)) return 2;
  if (!current) return 201;
  *address = (CUdeviceptr)malloc(size); return 0; }
int cuMemFree_v2(CUdeviceptr address) { free((void *)address); return 0; }
int cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, void *stream) {
  memcpy((void *)to, from, size); return stream != &stream_object; }
int cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, void *stream) {
  memcpy(to, (void *)from, size); return stream != &stream_object; }
int cuGetErrorString(int code, const char **text) {
  *text = code == 2 ? "out of memory" : code == 100 ? "no CUDA-capable device is detected" : 0; return *text == 0; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc) to make a stand-in for the driver with")
    folder: Path = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(_DRIVER)
    library = folder / "libdriver.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "driver.c"], check=True)
    return str(library)


def test_gpu_is_described(driver):
    gpu = Cuda(driver).gpu
    assert (gpu.name, gpu.compute_capability, gpu.multiprocessors) == ("Orin", "8.7", 14)
    assert gpu.driver.endswith("CUDA 12.6")


def test_what_was_copied_to_the_gpu_comes_back(driver):
    cuda = Cuda(driver)
    sent = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    address = cuda.allocate(sent.nbytes)
    cuda.to_gpu(address, sent)
    received = np.zeros_like(sent)
    cuda.from_gpu(received, address)
    cuda.wait()
    cuda.free(address)
    np.testing.assert_array_equal(received, sent)


def test_an_error_is_told_in_the_driver_s_words(driver):
    with pytest.raises(EdgeError, match=r"cuMemAlloc_v2: out of memory \(code 2\)"):
        Cuda(driver).allocate(1 << 40)


def test_no_gpu_is_an_error(driver, monkeypatch):
    monkeypatch.setenv("NO_GPU", "1")
    with pytest.raises(EdgeError, match="no CUDA-capable device is detected"):
        Cuda(driver)


def test_no_driver_is_an_error():
    with pytest.raises(EdgeError, match="there is no NVIDIA driver here"):
        Cuda("libno_such_driver.so.1")


def test_another_thread_must_say_that_it_uses_the_gpu(driver):
    cuda, said = Cuda(driver), []

    def use(first) -> None:
        try:
            first()
            cuda.free(cuda.allocate(16))
            said.append("done")
        except EdgeError as error:
            said.append(str(error))

    for first in (lambda: None, cuda.use_here):
        thread = threading.Thread(target=use, args=[first])
        thread.start()
        thread.join()
    assert "code 201" in said[0] and said[1] == "done"
