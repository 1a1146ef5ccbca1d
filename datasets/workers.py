"""Work on many recordings side by side, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datasets.errors import DatasetError

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A pool of processes, and progress bars for what they do; for use in a `with` statement.

    Args:
      num_workers: number of processes; 1 works in this process.
      progress: whether bars are drawn, on stderr.
    """

    def __init__(self, num_workers: int, progress: bool) -> None:
        self._num_workers = num_workers
        self._pool: ProcessPoolExecutor | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not progress,
        )

    def __enter__(self) -> Workers:
        if self._num_workers > 1:
            # Not by fork: the program around may have JAX and its threads.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._num_workers, context, initializer=_start_worker)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, title: str, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield function(item) for each item, in order. Both travel between processes.

        Raises:
          DatasetError: if a worker process is killed.
        """
        task = self._progress.add_task(title, total=len(items))
        for result in self._results(function, items):
            self._progress.advance(task)
            yield result

    def _results(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        if self._pool is None:
            yield from map(function, items)
            return
        try:
            # A few ahead of what is asked for, so that results never pile up in memory.
            pending: deque[Future[Result]] = deque()
            for item in items:
                pending.append(self._pool.submit(function, item))
                if len(pending) > 2 * self._num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise DatasetError(
                "a worker process was killed, as a rule because memory ran out; use fewer (num_workers)"
            ) from error


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one ends the others
    # A worker waits for work for ever if the main process is killed; this ends it then.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
