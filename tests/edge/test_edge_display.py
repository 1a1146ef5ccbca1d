"""The window of `edge.live --display`, on a made-up screen: when it ends, and how large it opens."""

import cv2
import numpy as np
import pytest

import edge
from edge import live
from edge.outputs import Display

PICTURE = np.zeros((48, 64, 3), np.uint8)


class Screen:
    """What OpenCV's windows say, as the tests want it.

    Attributes:
      visible: what WND_PROP_VISIBLE is; an exception is raised.
      key: the key that is down.
      sizes: what the window was resized to, (width, height) in pixels.
      shown: how many pictures were.
    """

    def __init__(self):
        self.visible, self.key, self.sizes, self.shown = 1.0, -1, [], 0

    def get_property(self, title, which):
        if isinstance(self.visible, Exception):
            raise self.visible
        return self.visible

    def show(self, title, picture):
        self.shown += 1


@pytest.fixture
def screen(monkeypatch):
    made = Screen()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda title, flags: None)
    monkeypatch.setattr(cv2, "resizeWindow", lambda title, *size: made.sizes.append(size))
    monkeypatch.setattr(cv2, "imshow", made.show)
    monkeypatch.setattr(cv2, "waitKey", lambda delay_ms: made.key)
    monkeypatch.setattr(cv2, "getWindowProperty", made.get_property)
    return made


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_q_and_esc_end_it(screen, key):
    display = Display()
    assert not display.show(PICTURE)
    screen.key = key
    assert display.show(PICTURE)


@pytest.mark.parametrize("gone", [0.0, -1.0, cv2.error("NULL guiReceiver")])
def test_a_closed_window_ends_it_and_is_not_opened_again(screen, gone):
    display = Display()
    assert not display.show(PICTURE)
    screen.visible = gone
    assert display.show(PICTURE)
    assert screen.shown == 1


def test_a_system_that_cannot_tell_whether_a_window_is_visible_goes_on(screen):
    screen.visible = -1.0
    display = Display()
    assert not any(display.show(PICTURE) for _ in range(3))
    assert screen.shown == 3 and len(screen.sizes) == 1


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(48, 64, (64, 48)), (2160, 3840, (1280, 720)), (1440, 720, (360, 720))]
)
def test_it_opens_no_larger_than_a_screen_and_in_proportion(screen, height, width, expected):
    display = Display()
    for _ in range(3):
        display.show(np.zeros((height, width, 3), np.uint8))
    assert screen.sizes == [expected]  # once: a person may pull it larger


def test_no_screen_says_what_to_do(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(edge.EdgeError, match="--record"):
        Display()


def test_an_opencv_without_windows_says_what_to_install(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")

    def fail(title, flags):
        raise cv2.error("not implemented")

    monkeypatch.setattr(cv2, "namedWindow", fail)
    with pytest.raises(edge.EdgeError, match="pip install opencv-python"):
        Display()


def test_q_ends_the_command(screen, make_bundle, write_video, monkeypatch):
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    screen.key = ord("q")
    arguments = [f"--bundle={make_bundle('rgb')}", f"--source={write_video(frames=90)}", "--every_frame", "--display"]
    assert live.main(arguments) == 0
    assert screen.shown == 1
