"""Being asked to stop, each time in a process of its own: signals are the whole process's."""

import subprocess
import sys

import pytest

BEGIN = """
import signal, sys, time
from hartx.interrupt import StopRequest
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
"""


def run(repository, code):
    """Run a program and return what it printed last, or what ended it."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], cwd=repository, capture_output=True, text=True, timeout=120
    )
    return (done.stdout + done.stderr).strip().split("\n")[-1], done.returncode


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_is_remembered_and_does_nothing_else(repository, name):
    code = f"""
before = signal.getsignal(signal.{name})
with StopRequest() as stop:
    stop.listen()
    made = [stop.made]
    for _ in range(2):  # that of the terminal and that of the sweep, say
        signal.raise_signal(signal.{name})
        made.append(stop.made)
print(made, signal.getsignal(signal.{name}) is before)
"""
    assert run(repository, code) == ("[False, True, True] True", 0)


@pytest.mark.parametrize("name, ends", [("SIGINT", ("KeyboardInterrupt", -2)), ("SIGTERM", ("", -15))])
def test_one_that_comes_later_again_acts_at_once(repository, name, ends):
    code = f"""
with StopRequest() as stop:
    stop.listen()
    signal.raise_signal(signal.{name})
    later_s = time.monotonic() + 2
    time.monotonic = lambda: later_s
    signal.raise_signal(signal.{name})
    print("it went on")
"""
    assert run(repository, code) == ends


def test_before_it_listens_signals_act_as_ever(repository):
    code = """
with StopRequest() as stop:
    signal.raise_signal(signal.SIGINT)
"""
    assert run(repository, code) == ("KeyboardInterrupt", -2)


def test_one_that_is_lost_while_a_step_compiles_is_remembered(repository):
    """Python calls back from XLA, and tells of what is raised there instead of raising it."""
    code = """
class Lost:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
with StopRequest() as stop:
    lost = Lost()
    del lost
    made = stop.made
    stop.listen()
    signal.raise_signal(signal.SIGINT)  # soon after: the same
sys.stderr.write(str(made))
"""
    assert run(repository, code) == ("True", 0)
