"""What every test shares: shapes checked at run time, and one small synthetic dataset."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before JAX is imported anywhere, and for the commands that tests start. The networks of the tests are tiny:
# nearly all their time would go into compiling, so programs are little optimised, and kept between processes.
_PROGRAMS = tempfile.TemporaryDirectory(prefix="hartx_tests_")
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_COMPILATION_CACHE_DIR": _PROGRAMS.name,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
}

# A shell has what it starts in the background ignore Ctrl-C, and the commands that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import pytest
from jaxtyping import install_import_hook

install_import_hook("hartx", "beartype.beartype")

# Nothing here asserts a time: the machine may be busy with something else.
hypothesis.settings.register_profile("hartx", deadline=None)
hypothesis.settings.load_profile("hartx")


@pytest.fixture(autouse=True, scope="module")
def forget_programs() -> Iterator[None]:
    """Free each file's compiled programs: their memory maps add up, and Linux allows a process 65530."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir in which the recordings of `tests/hartx/small.py` are prepared."""
    return tmp_path_factory.mktemp("tfds")
