"""The TFDS builder of a folder of clips. It needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from datasets.errors import DatasetError
from datasets.video_folder.frames import find_damage, make_example
from datasets.video_folder.layout import Clip, Listing
from datasets.workers import Workers

NAME = "video_folder"
VERSION = "1.0.0"


@dataclasses.dataclass(eq=False)
class ClipsConfig(tfds.core.BuilderConfig):
    """Which clips are converted, and how; `datasets.video_folder.prepare` makes it.

    Attributes:
      listing: the clips.
      allow_partial: whether to go on with the sound clips where others are damaged.
      workers: who does the work, already started.
    """

    listing: Listing | None = dataclasses.field(default=None, repr=False)
    allow_partial: bool = False
    workers: Workers | None = dataclasses.field(default=None, repr=False)


class Builder(tfds.core.GeneratorBasedBuilder):
    """One split a person, s1, s2 and so on, so that every protocol can be formed when reading; s0 if nobody is told."""

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}

    def _info(self) -> tfds.core.DatasetInfo:
        listing = self._config().listing
        assert listing is not None
        # tfds.features.Image and Video would import TensorFlow; a list of files in bytes does not.
        files = tfds.features.Sequence(tfds.features.Text())
        time_s = tfds.features.Tensor(shape=(None,), dtype=np.float32, doc="seconds from the first frame")
        features = {
            "name": tfds.features.Text(),
            "action": tfds.features.ClassLabel(names=listing.actions),
            "subject": tfds.features.Scalar(dtype=np.int32),
            "rgb": {"frames": files, "time_s": time_s},
        }
        people = {str(number): person for number, person in listing.people.items()}
        return tfds.core.DatasetInfo(
            builder=self,
            description="Colour clips, a folder a class.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # clips stay in the order of their names
            metadata=tfds.core.MetadataDict(people=people, clips={}, left_out=[]),
        )

    def _config(self) -> ClipsConfig:
        config = self.builder_config
        if not isinstance(config, ClipsConfig) or config.listing is None or config.workers is None:
            raise DatasetError("the builder does not know which clips to convert; use datasets.video_folder.prepare")
        return config

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        config = self._config()
        assert config.listing is not None and config.workers is not None
        clips = self._sound_clips(config.listing, config.workers, config.allow_partial)
        clips.sort(key=lambda clip: clip.subject)
        # TFDS writes one split after the other, so that all of them can draw from one stream of examples.
        examples = config.workers.map("Converting", make_example, clips)
        counts = Counter(f"s{clip.subject}" for clip in clips)
        return {split: self._generate_examples(examples, count) for split, count in counts.items()}

    def _sound_clips(self, listing: Listing, workers: Workers, allow_partial: bool) -> list[Clip]:
        """Return the clips that can be decoded; notes in the metadata what is left out."""
        damage = list(workers.map("Checking", find_damage, listing.clips))
        problems = [problem for problem in damage if problem is not None]
        sound = [clip for clip, problem in zip(listing.clips, damage, strict=True) if problem is None]
        if problems and not (allow_partial and sound):
            way_on = (
                "Repair or remove them, or go on with the others: --allow_partial (in training "
                "--config.dataset.allow_partial=True)."
                if sound
                else "No sound clip is left."
            )
            head = f"{len(problems)} of {len(listing.clips)} clips are damaged"
            raise DatasetError("\n".join([head, *(f"  {p}" for p in problems), f"Nothing was converted. {way_on}"]))
        kept = Counter(listing.actions[clip.action] for clip in sound)
        self.info.metadata.update(left_out=problems, clips={action: kept[action] for action in listing.actions})
        return sound

    def _generate_examples(self, examples: Iterator[Any], count: int) -> Iterator[tuple[int, Any]]:
        return enumerate(islice(examples, count))
