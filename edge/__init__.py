"""A bundle and a recording in, a named action out. numpy, OpenCV and one engine; no JAX.

from edge import ActionRecognizer
recognizer = ActionRecognizer.from_bundle("bundles/a")
print(recognizer.predict(frames, skeleton=joints).action)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.recognizer import ActionRecognizer, Prediction, Score

__all__ = ["ActionRecognizer", "EdgeError", "Prediction", "Score"]


def __getattr__(name: str) -> Any:
    # Looked up on first use: training imports `edge.preprocess` alone, and `import edge` stays quick.
    if name in __all__:
        from edge import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}")
