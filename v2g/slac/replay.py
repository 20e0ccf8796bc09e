"""Feeds recorded frames to a matching core, in the time of the recording: pure, and as fast as possible."""

from collections.abc import Iterable

from v2g.slac.actions import Action
from v2g.slac.host import Host


def replay(core: Host, frames: Iterable[tuple[float, bytes]], *, wait_s: float = 1.0) -> list[tuple[float, Action]]:
    """Feed `frames` (time of reception in s, frame) and return the core's actions with their times.

    The caller has started the core at or before the first frame's time. Timers expire between the frames, and for
    `wait_s` after the last one. Frames are in order of time; one that appears older counts as simultaneous.
    """
    done: list[tuple[float, Action]] = []
    now = 0.0
    for at, frame in frames:
        now = max(now, at)
        _run_until(core, now, done)
        core.receive(frame, now)
        done += [(now, action) for action in core.actions()]
    _run_until(core, now + wait_s, done)
    return done


def _run_until(core: Host, end: float, done: list[tuple[float, Action]]) -> None:
    done += [(end, action) for action in core.actions()]
    while (deadline := core.deadline()) is not None and deadline <= end:
        core.tick(deadline)
        done += [(deadline, action) for action in core.actions()]
