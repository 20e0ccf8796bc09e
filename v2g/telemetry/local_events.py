"""Which events of a vehicle's or charger's program become telemetry, and which of their fields.

Only listed fields leave the machine: identifiers of persons, vehicles and places, and free text, do not.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal, cast

import msgspec
from msgspec import Meta

from v2g.events import EVENTS
from v2g.telemetry.privacy import without_vins
from v2g.text import printable
from v2g.units import UtcMs

MAX_TEXT: Final = 64
"""Longest text in a field; longer ones are cut."""

Program = Literal["evcc", "secc", "gateway"]

DROPPED: Final = "telemetry.records_dropped"
"""Event of the gateway itself: how many `records` of a priority a full outbox has dropped, and from when to when."""

FINDING: Final = "telemetry.battery_finding"
"""Event of the gateway itself: what a detector found, or that it has ended; the record has the sample's values."""

CONSENT: Final = "telemetry.consent_changed"
"""Event of the gateway itself: to which groups the vehicle's person consents; sent where scores are among them."""

INSTALLED: Final = "firmware.installed"
"""Event of gateway and vehicle: which release runs, and which newer one did not work."""

REPORTED: Final = {
    event.name: tuple(field.name for field in event.fields if field.telemetry)
    for event in EVENTS.values()
    if event.is_reported
}
"""Stage and name of each event -> the fields that are reported."""

Value = str | int | float | bool | None


class LocalEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of a program beside the gateway: `name` is its stage and name, `utc_ms` its time."""

    program: Program
    name: Annotated[str, Meta(extra_json_schema={"enum": list(REPORTED)})]
    utc_ms: UtcMs
    data: Annotated[dict[str, Value], Meta(max_length=8)]

    @property
    def is_message_timeout(self) -> bool:
        """Whether a message of ISO 15118 was not answered in time."""
        return self.name == "session.timeout" or self.data.get("reason") == "message_timeout"


def reported(program: str, stage: str, name: str, utc_ms: int, data: Mapping[str, object]) -> LocalEvent | None:
    """Return what is reported of a program's event, None if nothing is."""
    fields = REPORTED.get(full := f"{stage}.{name}")
    if fields is None or program not in ("evcc", "secc", "gateway"):
        return None
    found = {field: _bounded(data[field]) for field in fields if field in data}
    return LocalEvent(cast("Program", program), full, max(0, utc_ms), found)


def _bounded(value: object) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no others
    if isinstance(value, int):
        return value if abs(value) < 2**53 else None
    return without_vins(printable(str(value)))[:MAX_TEXT]
