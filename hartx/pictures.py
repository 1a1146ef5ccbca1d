"""What a finished run's network makes of its test recordings, as a picture: RUN/tsne.png.

python -m hartx.pictures --workdir=runs/a

The features that the classifier reads, one point a recording, brought into the plane by t-SNE (van der Maaten
and Hinton 2008). The confusion matrix and the training curves lie beside it since the run was tested.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from hartx.command import run_command
from hartx.data import eval_clips
from hartx.errors import HartxError
from hartx.jit import jit
from hartx.plots import draw_map
from hartx.run import Run, load_run, recordings_of

_LEAST_RECORDINGS = 4
_PERPLEXITY = 30.0


def in_the_plane(features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N 2"]:
    """Return points whose neighbours are those of the features; the same at every call.

    Raises:
      HartxError: with fewer than 4 recordings, which have no neighbourhoods.
    """
    if len(features) < _LEAST_RECORDINGS:
        raise HartxError(
            f"there are {len(features)} recordings on the test side; at least {_LEAST_RECORDINGS} are expected"
        )
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=0)
    with threadpool_limits(1):  # a few hundred points: threads would spend their time waiting for each other
        return np.asarray(tsne.fit_transform(np.asarray(features, np.float64)))


def recording_features(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the features (N, F) and labels (N,) of the test recordings, the first view of each."""
    graphdef, state = nnx.split(run.model)

    @jit
    def features_fn(state: Any, inputs: dict[str, jax.Array]) -> jax.Array:
        model: Any = nnx.merge(graphdef, state)
        return model.features(inputs)

    features, labels = [], []
    clips = eval_clips(run.config, "test", recordings_of(run))
    for clip in itertools.islice(clips, 0, None, run.config.clip.views):
        inputs = {stream: x[None] for stream, x in clip.inputs.items()}
        features.append(np.asarray(features_fn(state, inputs), np.float32)[0])
        labels.append(clip.label)
    return np.array(features, np.float32), np.array(labels, np.int64)


def draw_features(workdir: Path) -> Path:
    """Write RUN/tsne.png and return its path.

    Raises:
      HartxError: if the run is not finished or has too few test recordings.
    """
    run = load_run(workdir)
    features, labels = recording_features(run)
    path = workdir / "tsne.png"
    tested = f"{run.config.name}, {run.config.protocol}: {len(labels)} test recordings"
    title = f"{tested}, t-SNE of {features.shape[-1]} features"
    draw_map(in_the_plane(features), labels, run.labels, title, path)
    return path


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hartx.pictures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, metavar="RUN", help="folder of the finished run")
    args = parser.parse_args(argv)
    return run_command(lambda: print(draw_features(args.workdir)))


if __name__ == "__main__":
    sys.exit(main())
