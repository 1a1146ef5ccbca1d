"""The error of this room."""


class DatasetError(Exception):
    """A user's mistake or a fault of the raw files: what was given, what was expected, what to do.

    Commands print it as `error: ...` and end with exit code 1.
    """
