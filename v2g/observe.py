"""Reports of a program about its progress: one record for each event.

Cores return these among their actions; `v2g.io.runtime.events` adds the time and writes them as JSON lines, from which
the timeline of `v2g demo` and conformance reports are made.
"""

import traceback
from typing import Final

import msgspec

from v2g.events import EVENTS, UNDECLARED, Event
from v2g.text import redacted

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
