"""Recordings that are not there, of two actions by two people: what a sweep and the runs of `stub_main.py` go by."""

from hartx.data import Recordings
from hartx.data.source import RecordingSource
from hartx.protocol import RecordingId, Sides


def recordings(config=None, trials=1):
    ids = tuple(RecordingId(f"a{a}_s{s}_t{t}", s) for s in (1, 3) for a in (1, 2) for t in range(1, trials + 1))
    indices = tuple(range(len(ids)))
    sides = Sides(indices, (), ())
    actions = tuple(int(recording.name[1]) - 1 for recording in ids)
    return Recordings(RecordingSource((), (), 0.0), ("swipe", "wave"), ids, indices, actions, ids, sides)
