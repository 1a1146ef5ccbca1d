"""What a prediction is made of."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from configs import base
from hartx.data import Clip
from hartx.evaluate import _absences, _missing, predict_without
from tests.hartx.stub_recordings import recordings

STREAMS = ("depth", "skeleton")
# Of each recording the label and, a row a view, what depth says of class 0 and the skeleton of class 1.
SAID = [(0, [(0.2, 0.4), (0.6, 0.2)]), (1, [(0.1, 0.5), (0.3, 0.7)]), (1, [(0.9, 0.1), (0.5, 0.3)])]


def clips():
    for index, (label, views) in enumerate(SAID):
        for depth, skeleton in views:
            inputs = {"depth": np.full((1, 1), depth, np.float32), "skeleton": np.full((1, 1), skeleton, np.float32)}
            yield Clip(f"a{index}", index, label, inputs)


def found(monkeypatch, absences):
    """The predictions of a network that repeats what its two streams say."""
    config = base.get_config()
    config.clip.views, config.batch_size, config.streams = 2, 4, STREAMS  # the last batch is not full

    def step(params, batch_stats, inputs):
        return jnp.concatenate([inputs[stream][:, 0] for stream in STREAMS], axis=1)

    monkeypatch.setattr("hartx.evaluate.eval_clips", lambda *_: clips())
    monkeypatch.setattr("hartx.predictor.eval_step_fn", lambda *_: step)
    graphdef, _ = nnx.split(nnx.Linear(1, 1, rngs=nnx.Rngs(0)))
    return predict_without(config, graphdef, {}, {}, recordings(), "test", absences)


def test_a_prediction_is_the_mean_over_the_views_of_its_recording(monkeypatch):
    (predictions,) = found(monkeypatch, [()])
    assert predictions.names == ["a0", "a1", "a2"] and predictions.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(predictions.probabilities, [(0.4, 0.3), (0.2, 0.6), (0.7, 0.2)], rtol=1e-6)


def test_a_stream_that_is_taken_away_is_zeros_and_the_others_stay(monkeypatch):
    absences = _absences(STREAMS)
    assert absences == [("depth",), ("skeleton",)]
    without = found(monkeypatch, absences)
    np.testing.assert_allclose(without[0].probabilities, [(0, 0.3), (0, 0.6), (0, 0.2)], rtol=1e-6)
    np.testing.assert_allclose(without[1].probabilities, [(0.4, 0), (0.2, 0), (0.7, 0)], rtol=1e-6)
    rows = _missing(STREAMS, absences, without)
    assert [(row["absent"], row["present"]) for row in rows] == [
        (["depth"], ["skeleton"]),
        (["skeleton"], ["depth"]),
    ]
    assert [row["top1"] for row in rows] == [2 / 3, 1 / 3]
