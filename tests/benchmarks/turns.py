"""Several contestants measured in one run, so that whatever else the machine does meets them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.progress import track

# Does once what is measured and returns its seconds.
Step = Callable[[], float]


def take_turns(steps: Mapping[str, Step], warmup: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of `rounds` steps of each, by name, after `warmup` ones; every other round goes backwards."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in track(range(-warmup, rounds), "measuring"):
        for name in list(steps)[:: 1 if index % 2 else -1]:
            seconds = steps[name]()
            if index >= 0:
                times[name].append(seconds)
    return times
