"""Being asked to stop."""

import signal
import time

import pytest

from hartx.interrupt import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_does_nothing_else(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        stop.listen()
        assert not stop.made
        signal.raise_signal(number)
        assert stop.made
        signal.raise_signal(number)  # of the terminal and of the sweep, say
    assert signal.getsignal(number) is before


def test_one_that_comes_later_again_acts_at_once(monkeypatch):
    with StopRequest() as stop:
        stop.listen()
        signal.raise_signal(signal.SIGINT)
        later_s = time.monotonic() + 2
        monkeypatch.setattr(time, "monotonic", lambda: later_s)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_before_it_listens_signals_act_as_ever():
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not stop.made
