"""A recording in place of the CAN bus, at its own times: it makes the same records at any speed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from v2g.errors import ConfigError, V2GError
from v2g.io.can import MOST_AT_ONCE, CanFrame
from v2g.io.can_recordings import recorded

FIRST_DATE_S: Final = 946_684_800.0
"""2000-01-01: an earlier time is no date, but counts from some start."""


class Replay:
    """The frames of a recording. A thread reads it, a few at a time."""

    def __init__(
        self, frames: Iterator[CanFrame], first: list[CanFrame], errors: list[V2GError], speed: float, now_s: float
    ) -> None:
        """Called by `open`."""
        self._frames, self._read, self._errors, self._speed = frames, first, errors, speed
        self._first_s = first[0].time_s
        self._offset_s = 0.0 if self._first_s >= FIRST_DATE_S else now_s - self._first_s

    @classmethod
    async def open(cls, path: Path, speed: float, utc_ms: Callable[[], int]) -> "Replay":
        """Open a recording, for `speed` recorded seconds a second; one without a date begins at `utc_ms()`.

        Raises V2GError for one of which nothing can be read.
        """
        return cls(*await asyncio.to_thread(beginning, path), speed, utc_ms() / 1000)

    async def frames(self) -> AsyncIterator[tuple[float, CanFrame]]:
        """Yield each frame when its time has come, with that time: UTC, s since 1970.

        Raises V2GError after the last one if the recording is damaged: with the first place that was skipped.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._read:
            for frame in self._read:
                wait = began + (frame.time_s - self._first_s) / self._speed - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                yield frame.time_s + self._offset_s, frame
            self._read = await asyncio.to_thread(_several, self._frames)
        if self._errors:
            raise self._errors[0]


def beginning(path: Path) -> tuple[Iterator[CanFrame], list[CanFrame], list[V2GError]]:
    """Return the frames of a recording, the first of them, and where it is found to be damaged.

    Raises V2GError for one of which nothing can be read.
    """
    errors: list[V2GError] = []
    frames = recorded(path, errors)
    first = _several(frames)
    if not first:
        empty = ConfigError(f"{path} has no frames", hint="`v2g diag can --from` shows what a recording holds")
        raise errors[0] if errors else empty
    return frames, first, errors


def _several(frames: Iterator[CanFrame]) -> list[CanFrame]:
    return list(islice(frames, MOST_AT_ONCE))
