"""What the commands of this package share: the options about the model, and how they end."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from typing import Callable

import cv2

from edge.arguments import cpu_list, positive_int
from edge.engines import ENGINES
from edge.errors import EdgeError

# What a full disk, a quota or a limit say. Of what is printed, the error does not name the file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def add_model_options(parser: argparse.ArgumentParser, precision_help: str) -> None:
    """Add --bundle, --precision, --engine, --threads and --cpus."""
    names = ", ".join(entry.name for entry in ENGINES)
    parser.add_argument("--bundle", required=True, metavar="FOLDER", help="the bundle, as export wrote it")
    parser.add_argument("--precision", default="auto", help=precision_help)
    parser.add_argument("--engine", default="auto", help=f"auto or one of: {names}")
    parser.add_argument("--threads", type=positive_int, help="threads of one inference (default: the engine's choice)")
    parser.add_argument("--cpus", type=cpu_list, metavar="LIST", help="bind them to these CPUs, like 0-3,6")


def run_command(command: Callable[[], int]) -> int:
    """Return a command's exit code; a user's mistake becomes one message and 1."""
    # OpenCV and FFmpeg write about damaged files on their own; our messages say which file and what to do.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, 5
    set_log_level(0)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be what the terminal can show
    try:
        return command()
    except BrokenPipeError:  # whoever read what was written has gone; there is nothing more to say on stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EdgeError as error:
        report(error)
        return 1
    except OSError as error:
        if error.filename is None and error.errno not in _FULL:
            raise
        report(EdgeError(f"{error.filename or 'what is printed'}: {error.strerror}"))
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def report(error: EdgeError) -> None:
    """Write an error to stderr as users see it."""
    print(f"error: {error}", file=sys.stderr)
