"""A watchdog cuts what nobody feeds, once, and lets a process that was stopped go on."""

import threading
import time

import pytest

from v2g.io.runtime.watchdog import Watchdog

pytestmark = pytest.mark.requirement("R166")


def test_it_cuts_once_what_was_not_fed_for_so_many_wake_ups() -> None:
    dog, cuts = Watchdog(), []
    feed = dog.watch(lambda: cuts.append("cut"))
    for _ in range(9):
        dog.check()
    assert cuts == []
    dog.check()
    assert cuts == ["cut"]
    for _ in range(20):
        dog.check()
    assert cuts == ["cut"]
    feed()
    for _ in range(10):
        dog.check()
    assert cuts == ["cut", "cut"], "fed again it watches again"


def test_who_feeds_is_not_cut_and_each_is_watched_for_himself() -> None:
    dog, cuts = Watchdog(), []
    feed = dog.watch(lambda: cuts.append("fed"))
    dog.watch(lambda: cuts.append("silent"))
    for _ in range(10):
        feed()
        dog.check()
    assert cuts == ["silent"]


def test_one_that_cannot_be_cut_does_not_keep_the_others_on(caplog: pytest.LogCaptureFixture) -> None:
    dog, cuts = Watchdog(), []

    def broken() -> None:
        raise OSError("gone")

    dog.watch(broken)
    dog.watch(lambda: cuts.append("cut"))
    for _ in range(10):
        dog.check()
    assert cuts == ["cut"]
    assert "a safety step has failed" in caplog.text


def test_its_thread_cuts_while_the_other_one_hangs() -> None:
    dog, cut = Watchdog(hung_s=0.05), threading.Event()
    dog.watch(cut.set)
    dog.start()
    assert cut.wait(10)
    dog.close()


def test_a_time_in_which_nobody_ran_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is how often it has looked, not what the clock says: it looked once after a minute."""
    dog, cuts = Watchdog(), []
    dog.watch(lambda: cuts.append("cut"))
    dog.check()
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    dog.check()
    assert cuts == []
