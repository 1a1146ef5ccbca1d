"""Frames as they are wanted: from a live source the newest one, from the others every one.

A live source is read by a thread of its own, which keeps one frame: a newer one takes its place, and the one that
nobody looked at is counted as dropped. So nothing queues up, and what is looked at is never older than it must be.
"""

from __future__ import annotations

import threading
from typing import Optional, Protocol

from edge.errors import EdgeError
from edge.sources import Frame, Source

RETRY_S = 1.0  # between two attempts to get a lost camera back
_JOIN_S = 1.0  # a read that hangs must not hang whoever wants to stop; the thread is a daemon


class Frames(Protocol):
    """What the runtime takes frames from.

    Attributes:
      dropped: frames so far that a newer one replaced before anybody took them.
      ended: whether there will be no more.
      lost: whether the source gives nothing and is being tried again.
    """

    dropped: int
    lost: bool

    @property
    def ended(self) -> bool: ...

    def take(self, timeout_s: float) -> Optional[Frame]:
        """Return a frame; None if none came in time, if `wake` was called, or at the end."""

    def wake(self) -> None:
        """Make a `take` that waits return."""

    def close(self) -> None:
        """Stop, and let go of the source."""


class EveryFrame:
    """All frames of a source that waits for its reader."""

    def __init__(self, source: Source) -> None:
        self.lost, self.dropped = False, 0
        self._source = source
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    def take(self, timeout_s: float) -> Optional[Frame]:
        frame = self._source.read()
        self._ended = frame is None
        return frame

    def wake(self) -> None:
        pass  # it never waits

    def close(self) -> None:
        self._source.close()


class NewestFrame:
    """The newest frame of a live source, which a thread of its own reads."""

    def __init__(self, source: Source) -> None:
        self.dropped = 0
        self.lost = False
        self._ended = False
        self._source = source
        self._frame: Optional[Frame] = None
        self._error: Optional[BaseException] = None
        self._woken = False
        self._left = False
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        with self._changed:  # the last frame may not have been taken yet
            return self._ended and self._frame is None and self._error is None

    def take(self, timeout_s: float) -> Optional[Frame]:
        with self._changed:
            if self._frame is None and not self._ended and not self._woken:
                self._changed.wait(timeout_s)
            self._woken = False
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(_JOIN_S)
        with self._changed:
            self._left = not self._ended  # it still reads: the thread closes the source when that returns
        if not self._left:
            self._source.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                frame = self._source.read()
                if frame is not None:
                    self._put(frame)
                elif not (self._source.returns and self._wait_for_return()):
                    break
        except BaseException as error:  # whatever it is: it belongs to whoever takes the frames
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            left = self._left
        if left:
            self._source.close()

    def _put(self, frame: Frame) -> None:
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify_all()

    def _wait_for_return(self) -> bool:
        """Open the source again and again; return whether it is there, which is False only after a stop."""
        self.lost = True
        while not self._stop.wait(RETRY_S):
            try:
                if self._source.reopen():
                    self.lost = False
                    return True
            except EdgeError:
                continue
        return False


def open_frames(source: Source) -> Frames:
    """Return the frames of a source, by a thread of its own if it is live."""
    return NewestFrame(source) if source.live else EveryFrame(source)
