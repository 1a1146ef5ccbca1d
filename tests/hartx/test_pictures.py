"""Pictures: features in the plane, folds, recall by class."""

import numpy as np
import pytest

from hartx.errors import HartxError
from hartx.pictures import in_the_plane
from hartx.plots import draw_folds, draw_map, draw_per_class


def test_neighbours_stay_neighbours_and_the_picture_stays_the_same(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    features = (10 * np.eye(6)[labels] + 0.1 * rng.normal(size=(24, 6))).astype(np.float32)
    points = in_the_plane(features)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(24)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    np.testing.assert_array_equal(points, in_the_plane(features))
    draw_map(points, labels, ("a", "b", "c"), "title", tmp_path / "tsne.png")
    assert [path.name for path in tmp_path.iterdir()] == ["tsne.png"]


def test_too_few_recordings_are_an_error():
    with pytest.raises(HartxError, match="3 recordings"):
        in_the_plane(np.zeros((3, 5), np.float32))


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_sweep_is_drawn_with_one_seed_and_with_more(tmp_path, seeds):
    std = None if seeds == 1 else 0.02
    top1 = {"mean": 0.9, "std": std, "interval95": None}
    folds = {f"loso:{k}": {"seeds": {str(s): 0.9 for s in range(seeds)}, "top1": top1} for k in range(6)}
    draw_folds(folds, "title", tmp_path / "folds.png")
    draw_per_class({"a": {"recall": top1}, "b": {"recall": top1}}, "title", tmp_path / "classes.png")
    assert len(list(tmp_path.iterdir())) == 2
