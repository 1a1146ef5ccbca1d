"""Raw recordings to a prepared dataset: convert on first use, reuse afterwards."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import absl.logging

from datasets.errors import DatasetError
from datasets.utd_mhad.download import download
from datasets.utd_mhad.layout import Inventory, scan
from datasets.utd_mhad.locking import locked
from datasets.utd_mhad.recordings import EXPECTED, NAME, VERSION, RecordingId
from datasets.utd_mhad.workers import Workers, num_cores

# TFDS is imported where it is used: the worker processes import this package and have no use for it.
if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_log = logging.getLogger(__name__)


def prepare(
    raw_dir: str | Path | None,
    data_dir: str | Path,
    *,
    allow_partial: bool = False,
    num_workers: int | None = None,
    progress: bool = True,
    expected: Collection[RecordingId] = EXPECTED,
    ca_bundle: str | Path | None = None,
) -> tfds.core.DatasetBuilder:
    """Return the prepared dataset of raw recordings; converts them where that has not been done yet.

    The dataset's folder is named by a fingerprint of the raw files (names and sizes), so that other raw
    files give another dataset. It appears under its name only when it is whole.

    Args:
      raw_dir: folder with the authors' folders or zips; None downloads the zips into
        DATA_DIR/downloads/utd_mhad.
      data_dir: where prepared datasets are kept.
      allow_partial: go on with the sound files where others are damaged, missing or unexpected; what is
        left out is logged and noted in the dataset's metadata.json.
      num_workers: number of processes; 1 converts in this process, None takes one a core.
      progress: whether to draw progress bars.
      expected: the recordings that there are.
      ca_bundle: PEM file with certificates to trust beside the system's, for the download.

    Returns:
      A builder to read from: `builder.as_data_source("s1+s3")`, one split a subject that is there.

    Raises:
      DatasetError: if the raw recordings cannot be had or are not sound, or the disk is full.
    """
    data_dir = Path(data_dir).expanduser()
    try:
        if raw_dir is None:
            raw_dir = download(data_dir / "downloads" / NAME, ca_bundle=ca_bundle, progress=progress)
        inventory = scan(Path(raw_dir).expanduser(), expected)
        prepared = data_dir / NAME / _config_name(inventory, allow_partial) / VERSION
        if not prepared.exists():
            with locked(data_dir / NAME):
                if not prepared.exists():  # another process may have made it meanwhile
                    _remove_unfinished(data_dir / NAME)
                    workers = Workers(num_workers or num_cores(), progress)
                    _convert(inventory, data_dir, prepared, allow_partial, workers)
    except (OSError, RuntimeError) as error:
        explanation = _explanation(error, data_dir)
        if explanation is None:
            raise
        raise DatasetError(explanation) from error
    return _open(prepared)


def _config_name(inventory: Inventory, allow_partial: bool) -> str:
    return inventory.fingerprint + ("-partial" if allow_partial else "")


def _remove_unfinished(dataset_dir: Path) -> None:
    """Remove what a conversion that was killed left; the lock says that none is under way."""
    for folder in dataset_dir.glob("*/incomplete.*"):
        shutil.rmtree(folder)
        _remove_if_empty(folder.parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _convert(inventory: Inventory, data_dir: Path, prepared: Path, allow_partial: bool, workers: Workers) -> None:
    from datasets.utd_mhad.utd_mhad_dataset_builder import Builder, RawConfig

    for absent in inventory.absent:
        _log.warning("%s: %s", inventory.raw_dir, absent)
    config = RawConfig(prepared.parent.name, None, inventory=inventory, allow_partial=allow_partial, workers=workers)
    try:
        with workers, _quiet_tfds():
            Builder(data_dir=data_dir, config=config).download_and_prepare(
                file_format="array_record", download_dir=data_dir / "downloads"
            )
    finally:
        _remove_if_empty(prepared.parent)


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


def _open(prepared: Path) -> tfds.core.DatasetBuilder:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepared)
    for problem in builder.info.metadata["left_out"]:
        _log.warning("left out: %s", problem)
    return builder


def _explanation(error: OSError | RuntimeError, data_dir: Path) -> str | None:
    """Return what a user is told of an error, None where it is a fault of ours."""
    # array_record tells of a full disk by a RuntimeError.
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in str(error):
        return (
            f"the disk of {data_dir} is full; nothing half-made was kept\n"
            "  expected room: about 0.3 GB for depth, skeletons and inertial of all subjects, 1.2 GB with rgb\n"
            "  free some, or give another folder (--data_dir, config.dataset.data_dir)"
        )
    return f"cannot prepare the dataset in {data_dir}: {error}" if isinstance(error, OSError) else None
