"""TensorRT's calibration cache: what is written is read back, also by another's reading of the format."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError
from export.tensorrt.cache import parse, to_text, version_number

SCALES = st.floats(2.0**-149, 2.0**127, width=32)
NAMES = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "), min_size=1).filter(
    lambda name: name.strip() == name
)


@given(scales=st.dictionaries(NAMES, SCALES))
def test_round_trip_is_exact(scales):
    assert parse(to_text(scales)).scales == scales


def test_text_is_what_tensorrt_writes():
    # TensorRT's own entropy calibrator puts the range 1 of a sigmoid at 3c010a14 (a fraction of a bin above).
    text = "TRT-100300-EntropyCalibration2\nconv1: 3f000000\nprob:0: 3c010a14\n"
    found = parse(text)
    assert (found.version, found.algorithm) == (100300, "EntropyCalibration2")
    assert found.scales == {"conv1": 0.5, "prob:0": pytest.approx(1 / 127, rel=3e-4)}
    assert to_text(found.scales, (10, 3, 0)) == text


def test_digits_without_leading_zeros_are_read():
    assert parse("TRT-8601-EntropyCalibration2\na: 3c0\n").scales == {"a": struct.unpack(">f", b"\0\0\3\xc0")[0]}


@pytest.mark.parametrize(("version", "number"), [((8, 5, 2), 8502), ((8, 6, 1), 8601), ((10, 13, 3), 101303)])
def test_version_is_written_as_one_number(version, number):
    assert version_number(version) == number
    assert parse(to_text({"a": 1.0}, version)).version == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("a: 3f000000\n", "first line"),
        ("TRT-8502-EntropyCalibration2\na 3f000000\n", "line 2"),
        ("TRT-8502-EntropyCalibration2\na: 3f000000\nb: 0.5\n", "line 3"),
        ("TRT-8502-EntropyCalibration2\na: 3f0000001\n", "line 2"),
        ("TRT-8502-EntropyCalibration2\na: 3f000000\na: 3f000000\n", "twice"),
    ],
)
def test_damaged_text_is_refused_with_its_line(text, message):
    with pytest.raises(EdgeError, match=message):
        parse(text)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-50, 1e39])
def test_scale_that_is_no_positive_float32_is_refused(scale):
    with pytest.raises(EdgeError, match=r"scale of x.*positive float32"):
        to_text({"x": scale})


@pytest.mark.parametrize("name", ["", "a\nb", "a\r", " a"])
def test_name_that_a_line_cannot_hold_is_refused(name):
    with pytest.raises(EdgeError, match="cannot hold"):
        to_text({name: 1.0})
