"""A stream whose pictures, skeletons and inertial samples somebody sends as they are taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Deque, Dict, Iterator, Mapping, Optional, Tuple

import cv2
import numpy as np

from edge.bundle import Bundle
from edge.checks import check_samples, check_skeleton
from edge.errors import EdgeError
from edge.feeds import Feed
from edge.sources import Frame

_KEPT = 1000  # skeletons and samples that wait for a picture at most: more than a window has
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG")  # what JPEG and PNG begin with


class PushedStream:
    """A live source: what comes counts as taken when it comes, and the newest picture wins.

    Pictures give the beat; where a bundle reads no video, everything that comes does.

    Args:
      bundle: what is going to read it.

    Attributes:
      feeds: modality to the skeletons and samples that go with the frames.
      skipped: pictures that were not even decoded, because a newer one had come.
    """

    live = True
    returns = False
    rate_hz: Optional[float] = None
    duration_s: Optional[float] = None

    def __init__(self, bundle: Bundle) -> None:
        self._video = bundle.video_modality
        self._reads = bundle.reads
        self._entries: Dict[str, Deque[Tuple[float, np.ndarray]]] = {
            modality: deque(maxlen=_KEPT) for modality in bundle.specs if modality != self._video
        }
        self._last_s: Dict[str, float] = {}
        self.feeds: Mapping[str, Feed] = {modality: _PushedFeed(self, modality) for modality in self._entries}
        self.skipped = 0
        self._changed = threading.Condition()
        self._waiting: Optional[Tuple[float, Optional[bytes]]] = None
        self._begun_s: Optional[float] = None
        self._ended = False

    def put_picture(self, data: bytes) -> None:
        """Take a frame as a JPEG or PNG file; depth as a PNG of 16 bits, in millimetres.

        Raises:
          EdgeError: if the bundle reads no video.
        """
        if self._video is None:
            raise EdgeError(f"a picture was sent; this bundle reads {self._reads}")
        self._tick(self._now(), data)

    def put_entries(self, given: Any) -> None:
        """Take {"skeleton": joints, "inertial": samples}, or one of both.

        Args:
          given: joints (20 or 25, 3) in metres, as they are now; samples (N, 6), those since the last ones.

        Raises:
          EdgeError: for anything else, or what the bundle does not read.
        """
        if not isinstance(given, dict) or not given:
            raise EdgeError('a message of text is expected to be {"skeleton": joints, "inertial": samples}')
        now_s = self._now()
        for modality, values in given.items():
            if values is None:
                continue
            if modality not in self._entries:
                raise EdgeError(f"{modality} was sent; this bundle reads {self._reads}")
            self._put(modality, now_s, _checked(modality, values))
        if self._video is None:
            self._tick(now_s, None)

    def end(self) -> None:
        """Let the stream end after what was put last."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def read(self) -> Optional[Frame]:
        with self._changed:
            while self._waiting is None and not self._ended:
                self._changed.wait()
            waiting, self._waiting = self._waiting, None
        if waiting is None or self._begun_s is None:
            return None
        arrived_s, data = waiting
        image = None if data is None else self._decode(data)
        return Frame(image, arrived_s - self._begun_s, arrived_s, (time.perf_counter() - arrived_s) * 1000)

    def reopen(self) -> bool:
        return False

    def close(self) -> None:
        self.end()

    def take(self, modality: str, until_s: float) -> Iterator[Tuple[float, np.ndarray]]:
        """Yield the entries of a modality up to a time, each once."""
        with self._changed:
            entries = self._entries[modality]
            due = [entries.popleft() for _ in range(sum(time_s <= until_s for time_s, _ in entries))]
        yield from due

    def _now(self) -> float:
        now_s = time.perf_counter()
        if self._begun_s is None:
            self._begun_s = now_s
        return now_s

    def _put(self, modality: str, now_s: float, values: np.ndarray) -> None:
        assert self._begun_s is not None
        time_s = now_s - self._begun_s
        with self._changed:
            before_s = self._last_s.get(modality)
            if before_s is None:
                values, before_s = values[-1:], time_s  # when those before it were taken is not known
            times_s = np.linspace(before_s, time_s, len(values) + 1)[1:]
            self._entries[modality].extend(zip(times_s.tolist(), values))
            self._last_s[modality] = time_s

    def _tick(self, now_s: float, data: Optional[bytes]) -> None:
        with self._changed:
            self.skipped += self._waiting is not None and self._waiting[1] is not None
            self._waiting = (now_s, data)
            self._changed.notify_all()

    def _decode(self, data: bytes) -> np.ndarray:
        flags = cv2.IMREAD_UNCHANGED if self._video == "depth" else cv2.IMREAD_COLOR
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data.startswith(_PICTURES) else None
        except cv2.error:  # more pixels than OpenCV takes
            image = None
        if image is None:
            raise EdgeError(f"a message of {len(data)} bytes is no picture that can be read; JPEG or PNG is expected")
        return image if self._video == "depth" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class _PushedFeed:
    """The skeletons, or the inertial samples, of a pushed stream."""

    def __init__(self, stream: PushedStream, modality: str) -> None:
        self._stream, self._modality = stream, modality

    def read(self, frame: Frame) -> Iterator[Tuple[float, np.ndarray]]:
        return self._stream.take(self._modality, frame.time_s)


def _checked(modality: str, values: Any) -> np.ndarray:
    return check_skeleton([values]) if modality == "skeleton" else check_samples(values)
