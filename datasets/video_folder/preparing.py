"""A folder of clips to a prepared dataset: convert on first use, reuse afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datasets.conversion import convert_once, explained, open_prepared
from datasets.video_folder.layout import Listing, scan
from datasets.workers import Workers, num_cores

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_ROOM = "that of all frames as JPEG files, the shorter side 256 pixels"


def prepare(
    raw_dir: str | Path,
    data_dir: str | Path,
    *,
    allow_partial: bool = False,
    num_workers: int | None = None,
    progress: bool = True,
) -> tfds.core.DatasetBuilder:
    """Return the prepared dataset of a folder of clips; converts them where that has not been done yet.

    The dataset's folder is named by a fingerprint of the clips (names and sizes), so that other clips give another
    dataset. It appears under its name only when it is whole.

    Args:
      raw_dir: folder with CLASS/CLIP, or with CLASS/PERSON/CLIP.
      data_dir: where prepared datasets are kept.
      allow_partial: go on with the sound clips where others are damaged; what is left out is logged and noted in the
        dataset's metadata.json.
      num_workers: number of processes; 1 converts in this process, None takes one a core.
      progress: whether to draw progress bars.

    Returns:
      A builder to read from: `builder.as_data_source("s1+s2")`, one split a person.

    Raises:
      DatasetError: if clips do not lie as they should or are damaged, or the disk is full.
    """
    data_dir = Path(data_dir).expanduser()
    with explained(data_dir, _ROOM):
        from datasets.video_folder.video_folder_dataset_builder import NAME, VERSION

        listing = scan(Path(raw_dir).expanduser())
        config_name = listing.fingerprint + ("-partial" if allow_partial else "")
        prepared = data_dir / NAME / config_name / VERSION
        workers = Workers(num_workers or num_cores(), progress)
        convert_once(prepared, lambda: _convert(listing, data_dir, config_name, allow_partial, workers))
    return open_prepared(prepared)


def _convert(listing: Listing, data_dir: Path, config_name: str, allow_partial: bool, workers: Workers) -> None:
    from datasets.video_folder.video_folder_dataset_builder import Builder, ClipsConfig

    config = ClipsConfig(config_name, None, listing=listing, allow_partial=allow_partial, workers=workers)
    with workers:
        Builder(data_dir=data_dir, config=config).download_and_prepare(
            file_format="array_record", download_dir=data_dir / "downloads"
        )
