"""Simulated impairment: loss, delay, duplicates, reordering and bit errors, reproducible by seed.

The effect on a frame depends on the seed, the direction and the number of frames before it in that direction, not
on time: a run that sends the same frames loses the same ones.
"""

import heapq
import random
from typing import Annotated, Final

import msgspec
from msgspec import Meta

HELD_S: Final = 0.06
"""Extra delay of a reordered frame: longer than the standard's 20 to 50 ms between two sounds."""

MAX_FLIPS: Final = 3
"""Maximum number of flipped bits in a frame."""

Share = Annotated[float, Meta(ge=0, le=1)]
Milliseconds = Annotated[float, Meta(ge=0, le=5000)]


class ImpairmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Impairment of frames, in both directions of this port; for tests.

    Shares are of all frames: 0.2 is one in five.
    """

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Selects the affected frames; the same seed affects the same ones."""
    loss: Share = 0.0
    """Share of frames that are lost."""
    duplicate: Share = 0.0
    """Share of frames that arrive twice."""
    reorder: Share = 0.0
    """Share of frames that arrive 60 ms late."""
    bit_error: Share = 0.0
    """Share of frames that arrive with 1 to 3 flipped bits."""
    delay_ms: Milliseconds = 0.0
    """Delay of every frame."""
    jitter_ms: Milliseconds = 0.0
    """Maximum random addition to it."""

    @property
    def idle(self) -> bool:
        """Whether there is no impairment."""
        return self == msgspec.structs.replace(IDLE, seed=self.seed)


IDLE: Final = ImpairmentConfig()


class Impairment:
    """One direction: when, how often and with what content frames arrive. Pure except for its generator's state."""

    def __init__(self, config: ImpairmentConfig, direction: str) -> None:
        self._config = config
        self._direction = direction
        self._count = 0

    def arrivals(self, frame: bytes) -> list[tuple[float, bytes]]:
        """Return (delay in s, frame) of everything that arrives; empty when it is lost."""
        config = self._config
        # One generator for each frame, so that frames do not influence each other.
        chance = random.Random(f"{config.seed}/{self._direction}/{self._count}")  # noqa: S311 - weather, not a key
        self._count += 1
        if chance.random() < config.loss:
            return []
        copies = 2 if chance.random() < config.duplicate else 1
        return [self._arrival(frame, chance) for _ in range(copies)]

    def _arrival(self, frame: bytes, chance: random.Random) -> tuple[float, bytes]:
        config = self._config
        delay = (config.delay_ms + config.jitter_ms * chance.random()) / 1000
        if chance.random() < config.reorder:
            delay += HELD_S
        if frame and chance.random() < config.bit_error:
            damaged = bytearray(frame)
            for _ in range(chance.randint(1, MAX_FLIPS)):
                bit = chance.randrange(8 * len(frame))
                damaged[bit // 8] ^= 1 << bit % 8
            frame = bytes(damaged)
        return delay, frame


class DelayLine:
    """Frames in transit, in order of arrival; simultaneous ones in order of sending."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, int, bytes]] = []
        self._count = 0

    def put(self, at: float, frame: bytes) -> None:
        """Let `frame` arrive at `at`."""
        self._count += 1
        heapq.heappush(self._frames, (at, self._count, frame))

    def due(self, now: float) -> list[bytes]:
        """Return the frames that have arrived by `now`."""
        frames = []
        while self._frames and self._frames[0][0] <= now:
            frames.append(heapq.heappop(self._frames)[2])
        return frames

    @property
    def deadline(self) -> float | None:
        """When the next frame arrives."""
        return self._frames[0][0] if self._frames else None
