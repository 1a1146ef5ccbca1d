"""A prepared dataset appears under its name when it is whole: made once, by one process, or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import absl.logging

from datasets.errors import DatasetError
from datasets.locking import locked

# TFDS is imported where it is used: the worker processes import this room and have no use for it.
if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_log = logging.getLogger(__name__)


def convert_once(prepared: Path, convert: Callable[[], None]) -> None:
    """Have a prepared dataset made where it is not there yet; other processes wait.

    Args:
      prepared: DATA_DIR/NAME/CONFIG/VERSION.
      convert: makes that folder.
    """
    dataset_dir = prepared.parents[1]
    if prepared.exists():
        return
    with locked(dataset_dir):
        if prepared.exists():  # another process has made it meanwhile
            return
        _remove_unfinished(dataset_dir)
        try:
            with _quiet_tfds():
                convert()
        finally:
            _remove_if_empty(prepared.parent)


def open_prepared(prepared: Path) -> tfds.core.DatasetBuilder:
    """Return a builder to read a prepared dataset from; says what was left out of it."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepared)
    for problem in builder.info.metadata["left_out"]:
        _log.warning("left out: %s", problem)
    return builder


@contextlib.contextmanager
def explained(data_dir: Path, room: str) -> Iterator[None]:
    """Turn what the disk refuses into a DatasetError.

    Args:
      data_dir: where prepared datasets are kept.
      room: how much of it is needed, for people.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # array_record tells of a full disk by a RuntimeError.
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(error):
            raise DatasetError(
                f"the disk of {data_dir} is full; nothing half-made was kept\n"
                f"  expected room: {room}\n"
                "  free some, or give another folder (--data_dir, config.dataset.data_dir)"
            ) from error
        if isinstance(error, OSError):
            raise DatasetError(f"cannot prepare the dataset in {data_dir}: {error}") from error
        raise


def _remove_unfinished(dataset_dir: Path) -> None:
    """Remove what a conversion that was killed left; the lock says that none is under way."""
    for folder in dataset_dir.glob("*/incomplete.*"):
        shutil.rmtree(folder)
        _remove_if_empty(folder.parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Keep TFDS from telling of a download that there is not; what goes wrong is raised anyway."""
    import tensorflow_datasets as tfds

    verbosity = absl.logging.get_verbosity()
    tfds.disable_progress_bar()  # the workers have one, of recordings
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl.logging.set_verbosity(verbosity)
