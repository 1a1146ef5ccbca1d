"""Raw recordings to a prepared dataset: convert on first use, reuse afterwards."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.conversion import convert_once, explained, open_prepared
from datasets.utd_mhad.download import download
from datasets.utd_mhad.layout import Inventory, scan
from datasets.utd_mhad.recordings import EXPECTED, NAME, VERSION, RecordingId
from datasets.workers import Workers, num_cores

# TFDS is imported where it is used: the worker processes import this package and have no use for it.
if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_log = logging.getLogger(__name__)

_ROOM = "about 0.3 GB for depth, skeletons and inertial of all subjects, 1.2 GB with rgb"


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
    with explained(data_dir, _ROOM):
        if raw_dir is None:
            raw_dir = download(data_dir / "downloads" / NAME, ca_bundle=ca_bundle, progress=progress)
        inventory = scan(Path(raw_dir).expanduser(), expected)
        prepared = data_dir / NAME / _config_name(inventory, allow_partial) / VERSION
        workers = Workers(num_workers or num_cores(), progress)
        convert_once(prepared, lambda: _convert(inventory, data_dir, prepared, allow_partial, workers))
    return open_prepared(prepared)


def _config_name(inventory: Inventory, allow_partial: bool) -> str:
    return inventory.fingerprint + ("-partial" if allow_partial else "")


def _convert(inventory: Inventory, data_dir: Path, prepared: Path, allow_partial: bool, workers: Workers) -> None:
    from datasets.utd_mhad.utd_mhad_dataset_builder import Builder, RawConfig

    for absent in inventory.absent:
        _log.warning("%s: %s", inventory.raw_dir, absent)
    config = RawConfig(prepared.parent.name, None, inventory=inventory, allow_partial=allow_partial, workers=workers)
    with workers:
        Builder(data_dir=data_dir, config=config).download_and_prepare(
            file_format="array_record", download_dir=data_dir / "downloads"
        )
