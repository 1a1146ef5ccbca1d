"""What every test shares: shapes checked at run time, and one small synthetic dataset."""

from __future__ import annotations

import os
from pathlib import Path

# Before JAX is imported anywhere: tests are small, and 8 devices are asked for where they are meant.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest
from jaxtyping import install_import_hook

install_import_hook("hartx", "beartype.beartype")

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_recordings() -> Path:
    """The folder of the real recordings (HARTX_UTD_MHAD, or ../shared/utd_mhad); skips where there are none."""
    folder = Path(os.environ.get("HARTX_UTD_MHAD", REPOSITORY.parent / "shared" / "utd_mhad"))
    if not folder.is_dir():
        pytest.skip(f"the real recordings are not at {folder}: set HARTX_UTD_MHAD to test on them")
    return folder


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir in which the recordings of `tests/hartx/small.py` are prepared."""
    return tmp_path_factory.mktemp("tfds")
