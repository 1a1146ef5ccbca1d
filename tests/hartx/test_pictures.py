"""Pictures: features in the plane, folds, recall by class."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from edge.streaming import Decision, Narration
from hartx.errors import HartxError
from hartx.pictures import in_the_plane
from hartx.plots import draw_folds, draw_map, draw_per_class
from hartx.streaming.sequence import Instance
from hartx.streaming.strip import Strip, draw_strip


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


def shown(figure):
    """The boxes of the names that a figure shows, by name, and of its axes."""
    figure.canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts]
    return [(t.get_text(), Text.get_window_extent(t)) for t in texts], figure.axes


def within(box, axes):
    frame = axes.get_window_extent()
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def overlapping(boxes):
    return [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if one.overlaps(other)]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, open."""
    drawn = []
    for module in ("hartx.plots", "hartx.streaming.strip"):
        monkeypatch.setattr(f"{module}.save_figure", lambda figure, path: drawn.append(figure))
    yield drawn
    for figure in drawn:
        plt.close(figure)


def test_names_in_a_map_cover_neither_each_other_nor_points_that_they_need_not(figures, tmp_path):
    rng = np.random.default_rng(0)
    names = tuple(f"draw_circle_number_{i}" for i in range(12))
    labels = np.repeat(np.arange(12), 4)
    points = 3 * np.arange(12)[:, None].repeat(2, axis=1)[labels] / 12 + 0.3 * rng.normal(size=(48, 2))
    points = np.concatenate([points, [[20.0, 20.0]]])  # what is far away leaves the others little room
    draw_map(points, np.append(labels, 0), names, "title", tmp_path / "tsne.png")
    boxes, (axes,) = shown(figures[0])
    assert sorted(name for name, _ in boxes) == sorted(names)
    assert overlapping(boxes) == []
    dots = axes.transData.transform(points)
    for _, box in boxes:
        assert within(box, axes)
        assert not any(box.contains(*dot) for dot in dots)


def test_names_in_a_strip_do_not_overlap(figures, tmp_path):
    labels = ("draw_circle_counter_clockwise", "clap", "draw_circle_clockwise", "basketball_shoot")
    instances = tuple(Instance(1 + 1.5 * i, 2 + 1.5 * i, labels[i % 4], f"r{i}", i) for i in range(12))
    strip = Strip(instances, 20.0, {}, np.linspace(0, 20, 96))
    said = [labels[i % 4] for i in range(24)]
    decisions = [Decision(0.8 * i + 1, word, 0.25, np.full(4, 0.25), True, None) for i, word in enumerate(said)]
    draw_strip(strip, Narration(tuple(decisions), ()), labels, 0.5, tmp_path / "strip.png")
    boxes, axes = shown(figures[0])
    assert len(boxes) == 12 + 24
    assert overlapping(boxes) == []
    for _, box in boxes:
        assert any(within(box, each) for each in axes)


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
