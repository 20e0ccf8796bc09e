"""Reports of a program about its progress: one record for each event.

Cores return these among their actions; `v2g.io.runtime.events` adds the time and writes them as JSON lines, from which
the timeline of `v2g demo` and conformance reports are made.
"""

import traceback
from collections.abc import Callable
from typing import Final, Generic, ParamSpec

import msgspec

from v2g.events import EVENTS, UNDECLARED, Event
from v2g.text import redacted

P = ParamSpec("P")

Scalar = str | int | float | bool | None

_LONGEST_TRACEBACK: Final = 4000


class Observe(msgspec.Struct, frozen=True):
    """An event.

    `stage` is one of `v2g.events.STAGES`, `name` the event in snake_case, `data` scalars only: no keys, tokens or other
    secrets.
    """

    stage: str
    name: str
    data: dict[str, Scalar] = {}

    @property
    def declaration(self) -> Event:
        """Its declaration; UNDECLARED for one of a driver or policy from elsewhere."""
        return EVENTS.get(f"{self.stage}.{self.name}", UNDECLARED)


def defect(error: BaseException) -> dict[str, Scalar]:
    """Return the fields that describe an exception that no code expects: `error`, and the end of its `traceback`."""
    lines = redacted("".join(traceback.format_exception(error)))
    return {"error": redacted(f"{type(error).__name__}: {error}")[:200], "traceback": lines[-_LONGEST_TRACEBACK:]}


class Callbacks(Generic[P]):
    """An event that parts of a program wait for: called with a callback, it adds it."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[P, object]] = []

    def __call__(self, callback: Callable[P, object]) -> None:
        """Call `callback`, too, whenever this happens."""
        self._callbacks.append(callback)

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """It has happened: call all, in the order in which they were added."""
        for callback in tuple(self._callbacks):
            callback(*args, **kwargs)
