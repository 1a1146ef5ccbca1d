"""A stream whose frames are sent."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from edge.bundle import read_bundle
from edge.errors import EdgeError
from edge.pushed import PushedStream
from tests.edge.pictures import picture


def test_the_newest_picture_wins(make_bundle):
    stream = PushedStream(read_bundle(make_bundle("rgb")))
    for i in (1, 2, 3):
        stream.put_picture(picture(i))
    frame = stream.read()
    assert stream.skipped == 2 and (frame.image == 30).all() and 0 < frame.time_s < 1 and frame.decode_ms > 0
    stream.put_picture(picture(4))
    stream.end()
    assert (stream.read().image == 40).all()
    assert stream.read() is None


def test_entries_are_no_pictures_that_were_skipped(make_bundle, samples):
    stream = PushedStream(read_bundle(make_bundle("inertial")))
    for _ in range(3):
        stream.put_entries({"inertial": samples.tolist()})
    frame = stream.read()
    assert stream.skipped == 0 and len(list(stream.feeds["inertial"].read(frame))) == 1 + 2 * len(samples)


def test_colours_and_millimetres_arrive_as_they_were(make_bundle):
    colour = np.zeros((4, 5, 3), np.uint8)
    colour[..., 0] = 200
    stream = PushedStream(read_bundle(make_bundle("rgb")))
    stream.put_picture(cv2.imencode(".png", colour[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(stream.read().image, colour)
    depth = np.arange(20, dtype=np.uint16).reshape(4, 5) * 300
    stream = PushedStream(read_bundle(make_bundle("depth")))
    stream.put_picture(cv2.imencode(".png", depth)[1].tobytes())
    np.testing.assert_array_equal(stream.read().image, depth)


def test_samples_of_one_message_lie_between_it_and_the_one_before(make_bundle, samples):
    stream = PushedStream(read_bundle(make_bundle("rgb", "inertial")))
    for message in (samples[:5], samples[5:9]):
        stream.put_entries({"inertial": message.tolist()})
        time.sleep(0.05)
    stream.put_picture(picture())
    frame = stream.read()
    entries = list(stream.feeds["inertial"].read(frame))
    np.testing.assert_array_equal(np.stack([values for _, values in entries]), samples[4:9])
    times = np.array([time_s for time_s, _ in entries])
    assert times[0] == 0 and 0.05 <= times[-1] < frame.time_s
    np.testing.assert_allclose(np.diff(times), times[-1] / 4)
    assert list(stream.feeds["inertial"].read(frame)) == []


def test_what_nobody_takes_does_not_pile_up(make_bundle):
    stream = PushedStream(read_bundle(make_bundle("rgb", "skeleton")))
    for _ in range(1500):
        stream.put_entries({"skeleton": np.ones((20, 3))})
    stream.put_picture(picture())
    assert len(list(stream.feeds["skeleton"].read(stream.read()))) == 1000


def test_a_picture_for_a_bundle_without_video_is_refused(make_bundle):
    with pytest.raises(EdgeError, match="a picture was sent; this bundle reads skeleton"):
        PushedStream(read_bundle(make_bundle("skeleton"))).put_picture(picture())


def test_a_small_file_of_a_huge_picture_is_refused(run_python, make_bundle):
    done = run_python(
        "-c",
        "import edge.serve, cv2, numpy as np\n"
        "from edge.bundle import read_bundle\n"
        "from edge.pushed import PushedStream\n"
        f"stream = PushedStream(read_bundle({str(make_bundle('rgb'))!r}))\n"
        "stream.put_picture(cv2.imencode('.png', np.zeros((6000, 6000), np.uint8))[1].tobytes())\n"
        "stream.read()",
    )
    assert "is no picture that can be read" in done.stderr
