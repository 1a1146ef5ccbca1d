"""The TFDS builder of UTD-MHAD. It needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from datasets.errors import DatasetError
from datasets.utd_mhad.examples import find_damage, make_example
from datasets.utd_mhad.layout import Inventory, Problem, Recording
from datasets.utd_mhad.readers import NUM_INERTIAL, NUM_JOINTS
from datasets.utd_mhad.recordings import ACTIONS, NAME, VERSION
from datasets.workers import Workers

_WAYS_ON = (
    "Repair the files, or go on with the sound ones: --allow_partial (in training --config.dataset.allow_partial=True)."
)


@dataclasses.dataclass(eq=False)
class RawConfig(tfds.core.BuilderConfig):
    """Which raw recordings are converted, and how; `datasets.utd_mhad.prepare` makes it.

    Attributes:
      inventory: the raw files.
      allow_partial: whether to go on with the sound files where others are damaged or missing.
      workers: who does the work, already started.
    """

    inventory: Inventory | None = dataclasses.field(default=None, repr=False)
    allow_partial: bool = False
    workers: Workers | None = dataclasses.field(default=None, repr=False)


class Builder(tfds.core.GeneratorBasedBuilder):
    """One split a subject, s1 to s8, so that every protocol can be formed when reading."""

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(_features()),
            homepage="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
            supervised_keys=None,
            disable_shuffling=True,  # recordings stay in the authors' order
            metadata=tfds.core.MetadataDict(absent=[], left_out=[]),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        config = self.builder_config
        if not isinstance(config, RawConfig) or config.inventory is None or config.workers is None:
            raise DatasetError("the builder does not know which files to convert; use datasets.utd_mhad.prepare")
        recordings = self._sound_recordings(config.inventory, config.workers, config.allow_partial)
        recordings.sort(key=lambda recording: (recording.id.subject, recording.id))
        # TFDS writes one split after the other, so that all of them can draw from one stream of examples.
        examples = config.workers.map("Converting", make_example, recordings)
        counts = Counter(f"s{recording.id.subject}" for recording in recordings)
        return {split: self._generate_examples(examples, count) for split, count in counts.items()}

    def _sound_recordings(self, inventory: Inventory, workers: Workers, allow_partial: bool) -> list[Recording]:
        """Return the recordings without the files that have a problem; notes in the metadata what is left out."""
        damage = workers.map("Checking", find_damage, inventory.recordings)
        problems = [*inventory.problems, *(problem for found in damage for problem in found)]
        if problems and not allow_partial:
            raise DatasetError(_whole_list(inventory, problems, "Nothing was converted. " + _WAYS_ON))
        recordings = _without(inventory.recordings, problems)
        if not recordings:
            raise DatasetError(_whole_list(inventory, problems, "Nothing was converted, no sound file is left."))
        self.info.metadata.update(absent=list(inventory.absent), left_out=[str(p) for p in problems])
        return recordings

    def _generate_examples(self, examples: Iterator[Any], count: int) -> Iterator[tuple[int, Any]]:
        return enumerate(islice(examples, count))


def _features() -> dict[str, Any]:
    time_s = tfds.features.Tensor(shape=(None,), dtype=np.float32, doc="seconds from the recording's start")
    # tfds.features.Image and Video would import TensorFlow; a list of files in bytes does not.
    files = tfds.features.Sequence(tfds.features.Text())
    pair = tfds.features.Tensor(shape=(2,), dtype=np.int32)
    joints = tfds.features.Tensor(shape=(None, NUM_JOINTS, 3), dtype=np.float32)
    samples = tfds.features.Tensor(shape=(None, NUM_INERTIAL), dtype=np.float32)
    return {
        "name": tfds.features.Text(),
        "action": tfds.features.ClassLabel(names=ACTIONS),
        "subject": tfds.features.Scalar(dtype=np.int32),
        "trial": tfds.features.Scalar(dtype=np.int32),
        "rgb": {"frames": files, "time_s": time_s},
        "depth": {"frames": files, "time_s": time_s, "origin": pair, "size": pair},
        "skeleton": {"joints": joints, "time_s": time_s},
        "inertial": {"samples": samples, "time_s": time_s},
    }


def _without(recordings: tuple[Recording, ...], problems: list[Problem]) -> list[Recording]:
    """Return the recordings less the files with problems; those with no file left are dropped."""
    bad = {problem.where for problem in problems}
    kept = (
        Recording(r.id, {modality: file for modality, file in r.files.items() if file.label not in bad})
        for r in recordings
    )
    return [recording for recording in kept if recording.files]


def _whole_list(inventory: Inventory, problems: list[Problem], conclusion: str) -> str:
    head = f"{inventory.raw_dir}: {len(problems)} of its files are missing, damaged or unexpected"
    return "\n".join([head, *(f"  {problem}" for problem in problems), conclusion])
