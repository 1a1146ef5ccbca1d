"""The error a user can do something about."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HartxError(Exception):
    """A user's mistake or a damaged input: shown as one message, without a traceback."""


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or "" if none is near."""
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
