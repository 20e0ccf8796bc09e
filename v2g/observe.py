"""Reports of a program about its progress: one record for each event.

Cores return these among their actions; `v2g.io.runtime.events` adds the time and writes them as JSON lines, from which
the timeline of `v2g demo` and conformance reports are made.
"""

import traceback
from typing import Final

import msgspec

from v2g.text import redacted

Scalar = str | int | float | bool | None

_LONGEST_TRACEBACK: Final = 4000


_ROUTINE = frozenset(
    {
        ("hardware", "status"),
        ("loop", "flow"),
        ("loop", "response"),
        ("ocpp", "transaction_updated"),
        ("settlement", "journal_appended"),
        ("telemetry", "telemetry_stored"),
    }
)


class Observe(msgspec.Struct, frozen=True):
    """An event.

    `stage` is the part of the session it belongs to (`link`, `sdp`, `tls`, `session`, `authorization`,
    `service`, `parameters`, `schedule`, `offer`, `power`, `loop`, `metering`, `stop`, `ocpp`, `telemetry`,
    `settlement`, `hardware`, `safety`, `firmware`, `display`, `basic`, `place`, `parking`, `wpt`, `acdp`, `program`),
    `name` the event in snake_case, `data` scalars only: no keys, tokens or other secrets.
    """

    stage: str
    name: str
    data: dict[str, Scalar] = {}

    @property
    def routine(self) -> bool:
        """Whether it occurs with every charge loop or reading: useful only for troubleshooting."""
        return (self.stage, self.name) in _ROUTINE


DEFECTS: Final = frozenset({("program", "defect"), ("program", "task_failed"), ("ocpp", "station_defect")})
"""Stage and name of events about exceptions that no code expects; programs count them."""


def defect(error: BaseException) -> dict[str, Scalar]:
    """Return the fields that describe an exception that no code expects: `error`, and the end of its `traceback`."""
    lines = redacted("".join(traceback.format_exception(error)))
    return {"error": redacted(f"{type(error).__name__}: {error}")[:200], "traceback": lines[-_LONGEST_TRACEBACK:]}
