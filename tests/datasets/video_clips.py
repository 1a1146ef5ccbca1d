"""Clips as anybody has them, written for the tests."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

SIZE = (48, 32)


def write_clip(path: Path, *, codec: str = "mpeg4", count: int = 9, rate: int = 15, bright: int = 8) -> Path:
    """Write a clip whose first `bright` columns are bright and become one more with every frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(count):
            picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
            picture[:, : bright + index] = 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path
