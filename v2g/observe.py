"""What a program tells the outside about its progress: one record per thing that happened.

Cores return these among their actions; `v2g.io.runtime.events` stamps them with the time and writes them as JSON
lines, from which `v2g demo` draws its timeline and conformance reports are made.
"""

import msgspec

Scalar = str | int | float | bool | None


_ROUTINE = frozenset(
    {
        ("loop", "flow"),
        ("loop", "response"),
        ("ocpp", "transaction_updated"),
        ("settlement", "journal_appended"),
        ("telemetry", "telemetry_stored"),
    }
)


class Observe(msgspec.Struct, frozen=True):
    """Something happened.

    `stage` is the part of the session it belongs to (`link`, `sdp`, `tls`, `session`, `authorization`,
    `service`, `parameters`, `schedule`, `offer`, `power`, `loop`, `metering`, `stop`, `ocpp`, `telemetry`,
    `settlement`, `hardware`, `safety`, `firmware`, `display`, `basic`, `place`, `parking`, `wpt`, `acdp`, `program`),
    `name` what happened in snake_case, `data` scalars only: no keys, tokens or other secrets.
    """

    stage: str
    name: str
    data: dict[str, Scalar] = {}

    @property
    def routine(self) -> bool:
        """Whether it comes with every charge loop or reading: of interest to whoever looks for a fault."""
        return (self.stage, self.name) in _ROUTINE
