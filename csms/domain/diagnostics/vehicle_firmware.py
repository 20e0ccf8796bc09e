"""What vehicles say is installed in them: the text is theirs, bounded and neutralised here once more."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta

from v2g import typed_json
from v2g.telemetry.local_events import INSTALLED, reported
from v2g.telemetry.signals import Record

Part = Literal["gateway", "vehicle"]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]

_PARTS: Final[dict[str, Part]] = {"gateway": "gateway", "evcc": "vehicle"}
"""Program -> the part that it is."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """Firmware of a part: the kind of `hardware`, name (`version`) and `number` of its release, "" and 0 for that with
    which it came; `failed` is the number of the newest release above it that did not work there."""

    hardware: str
    version: str
    number: Number
    failed: Number | None


class PartFirmware(Installed, frozen=True, kw_only=True):
    """Firmware of a vehicle's part, said at `at_ms` (UTC) by the record (boot, seq)."""

    ev: str
    part: Part
    boot: int
    seq: int
    at_ms: int


def installed_in(records: Iterable[Record]) -> list[PartFirmware]:
    """Return what records say is installed, sorted by vehicle and part; what is not understood says nothing."""
    found = []
    for record in records:
        event = record.event
        if event is UNSET or event.name != INSTALLED or event.program not in _PARTS:
            continue
        stage, _, name = INSTALLED.partition(".")
        bounded = reported(event.program, stage, name, event.utc_ms, event.data)
        assert bounded is not None
        try:
            said = typed_json.convert(bounded.data, Installed)
        except msgspec.ValidationError:
            continue
        found.append(
            PartFirmware(
                ev=record.ev,
                part=_PARTS[event.program],
                boot=record.boot,
                seq=record.seq,
                at_ms=event.utc_ms,
                **msgspec.structs.asdict(said),
            )
        )
    return sorted(found, key=lambda each: (each.ev, each.part))
