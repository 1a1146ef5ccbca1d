"""The error that a user of `export` can do something about."""

from __future__ import annotations


class ExportError(Exception):
    """A user's mistake, or a model that fails a check: shown as one message, without a traceback."""
