"""When the frames of a video file were taken: one rule for a stream over it and for whoever reads it as a whole.

The rule looks at the frames so far and at the header, never ahead, so both get the same times.
"""

from __future__ import annotations

import math
from typing import Optional

USUAL_RATE_HZ = 30.0  # of a file that knows neither its rate nor its times
# Matroska and WebM count whole milliseconds: the first frame's time may be half a one off, and so may each other's.
_ROUNDED_S = 1e-3 + 1e-9
_LEAST_STEP_S = 1e-5  # of two frames whose times are apart by less than the rounding


class FrameClock:
    """The times of the frames of a file, one after the other.

    A frame is taken when the file says, counted from the first one. Where that is a multiple of the promised step but
    for the rounding to milliseconds, it is that multiple: a container that rounds gives the times of one that does not.
    Where the file's time does not go on, as in a damaged file or one without any, a frame is one step after the last.

    Args:
      promised_hz: frames per second that the header promises; None if it promises none.
      given_hz: frames per second in place of the file's own times; None: as the file says.
    """

    def __init__(self, promised_hz: Optional[float], given_hz: Optional[float] = None) -> None:
        self._rate_hz = given_hz or promised_hz
        self._step_s = 1 / (self._rate_hz or USUAL_RATE_HZ)
        self._believes_file = given_hz is None
        self._first_s: Optional[float] = None
        self._own_s = self._time_s = 0.0  # of the last frame: as the file says, and as it is taken

    def next(self, stamp_ms: float) -> float:
        """Return the seconds from the first frame to the next one, which the file dates `stamp_ms`; they increase."""
        if self._first_s is None:
            self._first_s = stamp_ms / 1000
            return 0.0
        own_s = stamp_ms / 1000 - self._first_s
        if self._believes_file and math.isfinite(own_s) and own_s > self._own_s:
            self._own_s, self._time_s = own_s, max(self._without_rounding(own_s), self._time_s + _LEAST_STEP_S)
        else:
            self._own_s = self._time_s = self._without_rounding(self._time_s + self._step_s)
        return self._time_s

    def _without_rounding(self, time_s: float) -> float:
        if self._rate_hz is None:
            return time_s
        regular_s = round(time_s * self._rate_hz) / self._rate_hz
        return regular_s if abs(regular_s - time_s) <= _ROUNDED_S else time_s
