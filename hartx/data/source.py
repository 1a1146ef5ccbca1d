"""Recordings of a prepared dataset, read one at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from edge.sampling import Track
from hartx.config import dataset_name, learns_joints
from hartx.errors import HartxError
from hartx.protocol import RecordingId, Sides, sides

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """One recording: who did what, and its tracks by modality. Video frames are decoded when asked for.

    Attributes:
      skeleton: what is to be found in the tracks, in their time, where training asks for it.
    """

    name: str
    subject: int
    label: int
    tracks: dict[str, Track]
    skeleton: Track | None = None


def _decode(file: bytes, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(file, np.uint8), flags)
    if image is None:
        raise HartxError("a prepared frame cannot be decoded; remove the prepared dataset to have it made again")
    return image


@dataclass(frozen=True)
class JpegFrames(Sequence[np.ndarray]):
    """JPEG files as a sequence of (H, W, 3) uint8 RGB frames."""

    files: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # no slices
        return _decode(self.files[index], cv2.IMREAD_COLOR_RGB)


@dataclass(frozen=True)
class DepthFrames(Sequence[np.ndarray]):
    """16-bit PNG files of the foreground's box as a sequence of whole (H, W) uint16 frames in millimetres."""

    files: Sequence[bytes]
    origin: tuple[int, int]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # no slices
        box = _decode(self.files[index], cv2.IMREAD_UNCHANGED)
        frame = np.zeros(self.size, np.uint16)
        top, left = self.origin
        frame[top : top + box.shape[0], left : left + box.shape[1]] = box
        return frame


def _track(modality: str, entry: dict[str, Any]) -> Track:
    time_s = np.asarray(entry["time_s"], np.float64)
    if modality == "rgb":
        return Track(JpegFrames(list(entry["frames"])), time_s)
    if modality == "depth":
        row, column = (int(v) for v in entry["origin"])
        height, width = (int(v) for v in entry["size"])
        return Track(DepthFrames(list(entry["frames"]), (row, column), (height, width)), time_s)
    values = entry["joints" if modality == "skeleton" else "samples"]
    return Track(np.asarray(values, np.float32), time_s)


@dataclass(frozen=True)
class Entry:
    """What a recording is, without what was recorded: its name and subject, its action, the modalities it has."""

    id: RecordingId
    label: int
    modalities: tuple[str, ...]


class RecordingSource:
    """Random access to the recordings of a prepared dataset, for Grain.

    Args:
      records: the prepared records (a TFDS data source).
      modalities: what to read of each record.
      cache_gib: recordings are kept in memory, undecoded, until they fill this much.
      with_skeleton: read the skeleton too, not as one of the tracks.
      depth_delay_s: how much later depth shows what the skeleton says.
    """

    def __init__(
        self,
        records: Any,
        modalities: Sequence[str],
        cache_gib: float,
        *,
        with_skeleton: bool = False,
        depth_delay_s: float = 0.0,
    ) -> None:
        self._records = records
        self._with_skeleton = with_skeleton
        self._depth_delay_s = depth_delay_s
        self._modalities = tuple(modalities)
        self._budget_bytes = int(cache_gib * 2**30)
        self._cache: dict[int, Recording] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Recording:
        if (cached := self._cache.get(index)) is not None:
            return cached
        record = self._records[index]
        tracks = {m: _track(m, record[m]) for m in self._modalities if m in record and len(record[m]["time_s"])}
        seen = self._with_skeleton and len(record["skeleton"]["time_s"])
        skeleton = _track("skeleton", record["skeleton"]) if seen else None
        if skeleton is not None:
            skeleton = replace(skeleton, time_s=skeleton.time_s + self._depth_delay_s)
        recording = Recording(record["name"].decode(), int(record["subject"]), int(record["action"]), tracks, skeleton)
        size_bytes = sum(_size_bytes(track) for track in (*tracks.values(), *([skeleton] if skeleton else [])))
        with self._lock:
            if size_bytes <= self._budget_bytes and index not in self._cache:
                self._budget_bytes -= size_bytes
                self._cache[index] = recording
        return recording

    def entry(self, index: int) -> Entry:
        """Return what a recording is; of what was recorded nothing stays in memory that the cache has no room for."""
        recording = self[index]
        return Entry(RecordingId(recording.name, recording.subject), recording.label, tuple(recording.tracks))

    def reading(self, modalities: Sequence[str]) -> RecordingSource:
        """Return a source of other modalities of the same recordings, at the same indices; nothing is cached."""
        return RecordingSource(self._records, modalities, cache_gib=0.0)

    # Grain ships the source to its worker processes; each fills a cache of its own.
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._cache, self._lock = {}, threading.Lock()


def _size_bytes(track: Track) -> int:
    if isinstance(track.values, np.ndarray):
        return track.values.nbytes
    assert isinstance(track.values, JpegFrames | DepthFrames)
    return sum(len(file) for file in track.values.files)


@dataclass(frozen=True)
class Recordings:
    """The recordings of a dataset that have every stream's modality, and the sides they are on.

    Attributes:
      labels: what the actions are called.
      kept: index in `source` of each of `ids`.
      actions: index in `labels` of each of `ids`.
      everyone: all recordings of the dataset, those among them that lack a modality. The streams of a fusion, each of
        which may lack others, are split as the fusion is.
    """

    source: RecordingSource
    labels: tuple[str, ...]
    ids: tuple[RecordingId, ...]
    kept: tuple[int, ...]
    actions: tuple[int, ...]
    everyone: tuple[RecordingId, ...]
    sides: Sides

    def split(self, protocol: str, validation_subject: int = 0) -> Recordings:
        """Return the same recordings on the sides of a protocol; arguments and errors are those of `sides`."""
        return replace(self, sides=sides(protocol, self.ids, validation_subject, self.everyone))

    def indices(self, side: str) -> list[int]:
        """Return the source indices of a side: train, validation or test."""
        return [self.kept[i] for i in getattr(self.sides, side)]

    def names(self, side: str) -> list[str]:
        """Return the names of the recordings of a side."""
        return [self.ids[i].name for i in getattr(self.sides, side)]

    def shown(self, side: str) -> set[str]:
        """Return the labels of the actions on a side."""
        return {self.labels[self.actions[i]] for i in getattr(self.sides, side)}


def num_classes(config: ConfigDict) -> int:
    """Return how many actions the config's recordings show; nothing is prepared for it.

    Raises:
      HartxError: if a folder of clips is meant and none is given.
      datasets.errors.DatasetError: if a folder of clips cannot be read.
    """
    from datasets.utd_mhad.recordings import ACTIONS
    from datasets.video_folder.layout import scan

    return len(scan(_clips_dir(config)).actions) if dataset_name(config) == "video_folder" else len(ACTIONS)


def _clips_dir(config: ConfigDict) -> Path:
    """Return the folder of anybody's clips.

    Raises:
      HartxError: if none is given.
    """
    if not config.dataset.raw_dir:
        raise HartxError(
            "config.dataset.name='video_folder' was given without config.dataset.raw_dir, the folder of the clips"
        )
    return Path(config.dataset.raw_dir).expanduser()


def _prepare(config: ConfigDict, data_dir: Path, progress: bool) -> Any:
    from datasets import synthetic_mhad, utd_mhad, video_folder  # TFDS takes a second to import

    if dataset_name(config) == "video_folder":
        return video_folder.prepare(
            _clips_dir(config), data_dir, allow_partial=config.dataset.allow_partial, progress=progress
        )
    if dataset_name(config) == "utd_mhad":
        return utd_mhad.prepare(
            config.dataset.raw_dir or None,
            data_dir,
            allow_partial=config.dataset.allow_partial,
            progress=progress,
        )
    if config.dataset.raw_dir:
        raise HartxError(
            f"config.dataset.raw_dir={config.dataset.raw_dir!r} was given with "
            "config.dataset.name='synthetic_mhad', which makes its own recordings; leave one of them out"
        )
    return synthetic_mhad.prepare(
        data_dir,
        trials=config.synthetic.trials,
        size=(config.synthetic.height, config.synthetic.width),
        seed=config.synthetic.seed,
        progress=progress,
    )


def _depth_delay_s(config: ConfigDict) -> float:
    from datasets import utd_mhad

    return utd_mhad.DEPTH_DELAY_S if dataset_name(config) == "utd_mhad" else 0.0


def _check_streams(config: ConfigDict, features: Collection[str]) -> None:
    """Raise HartxError for a stream that a dataset has nothing of at all."""
    absent = [stream for stream in config.streams if stream not in features]
    if absent:
        raise HartxError(
            f"{dataset_name(config)} has no {', '.join(absent)}, which config.streams={config.streams} needs; "
            "clips of colour video are for configs/rgb.py"
        )


def open_recordings(config: ConfigDict, progress: bool = True) -> Recordings:
    """Return the config's recordings; prepares the dataset first where that has not been done yet.

    Raises:
      HartxError: if no recording has all the modalities that the config's streams need.
      datasets.errors.DatasetError: if the raw recordings cannot be prepared.
    """
    import tensorflow_datasets as tfds

    data_dir = Path(config.dataset.data_dir or tfds.core.constants.DATA_DIR).expanduser()
    builder = _prepare(config, data_dir, progress)
    _check_streams(config, builder.info.features)
    records = builder.as_data_source("+".join(sorted(builder.info.splits)))
    source = RecordingSource(
        records,
        config.streams,
        config.dataset.cache_gib,
        with_skeleton=learns_joints(config),
        depth_delay_s=_depth_delay_s(config),
    )
    found = [source.entry(i) for i in range(len(source))]
    whole = [i for i, entry in enumerate(found) if set(entry.modalities) == set(config.streams)]
    if len(whole) < len(found):
        _log.warning(
            "%d of %d recordings lack one of %s and are left out",
            len(found) - len(whole),
            len(found),
            ", ".join(config.streams),
        )
    if not whole:
        raise HartxError(
            f"none of the {len(found)} recordings of {dataset_name(config)} has all of: "
            f"{', '.join(config.streams)}. Give recordings that do, or other config.streams"
        )
    return Recordings(
        source=source,
        labels=tuple(builder.info.features["action"].names),
        ids=tuple(found[i].id for i in whole),
        kept=tuple(whole),
        actions=tuple(found[i].label for i in whole),
        everyone=tuple(entry.id for entry in found),
        sides=Sides((), (), ()),
    ).split(config.protocol, config.validation_subject)


@dataclass(frozen=True)
class Selection:
    """Some of a source's recordings, in the given order."""

    source: RecordingSource
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Recording:
        return self.source[self.indices[index]]
