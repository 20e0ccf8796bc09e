"""Compares what a charger settled with what its back end and the vehicle have of the same session.

The meter of the charger decides. The back end's copy must be equal; the vehicle measures at its battery, behind the
cable, so its figures are close: within the aim normally, and beyond the alarm something is wrong.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from v2g import typed_json
from v2g.energy.settlement.pricing import Direction
from v2g.energy.settlement.settle import Settlement
from v2g.errors import VerificationError

RESOLUTION_MWH: Final = 10_000
"""Up to 10 Wh no difference is beyond the aim: counters of vehicles have steps."""

Verdict = Literal["equal", "within_aim", "beyond_aim", "alarm"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The energy of a session as a source has it."""

    source: str
    import_mwh: int
    export_mwh: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a source beside the charger's; `percent` is None where the charger has nothing."""

    source: str
    direction: Direction
    charger_mwh: int
    mwh: int
    percent: Decimal | None
    verdict: Verdict


def compare(
    charger: Figures, others: Sequence[Figures], *, aim: Decimal = Decimal("0.5"), alarm: Decimal = Decimal(5)
) -> tuple[Comparison, ...]:
    """Return two comparisons for each other source. `aim` and `alarm` are percent of the charger's figure."""
    found = []
    for each in others:
        found.append(_compared(each.source, "import", charger.import_mwh, each.import_mwh, aim, alarm))
        found.append(_compared(each.source, "export", charger.export_mwh, each.export_mwh, aim, alarm))
    return tuple(found)


def _compared(source: str, direction: Direction, ours: int, theirs: int, aim: Decimal, alarm: Decimal) -> Comparison:
    difference = abs(theirs - ours)
    verdict: Verdict = "alarm"
    if difference == 0:
        verdict = "equal"
    elif difference <= max(Decimal(RESOLUTION_MWH), aim * ours / 100):
        verdict = "within_aim"
    elif difference <= alarm * ours / 100:
        verdict = "beyond_aim"
    percent = (Decimal(100) * (theirs - ours) / ours).quantize(Decimal("0.001")) if ours else None
    return Comparison(
        source=source, direction=direction, charger_mwh=ours, mwh=theirs, percent=percent, verdict=verdict
    )


def figures_of(settlement: Settlement, source: str) -> Figures:
    """Return a settlement's energy."""
    return Figures(
        source=source,
        import_mwh=settlement.end.import_mwh - settlement.begin.import_mwh,
        export_mwh=settlement.end.export_mwh - settlement.begin.export_mwh,
    )


class _Stored(msgspec.Struct, frozen=True):
    document: Settlement


def read_copy(data: bytes, charger: Settlement, *, name: str) -> Settlement:
    """Return the settlement in a back end's answer, `GET /settlements/SESSION`, or in a `settlement.json`.

    Raises VerificationError if there is none, or it is that of another session.
    """
    try:
        stored = typed_json.decode(data, dict[str, object])
        if "document" in stored:
            found = typed_json.decode(data, _Stored).document
        else:
            found = typed_json.decode(data, Settlement)
    except msgspec.DecodeError as error:
        raise VerificationError(f"no settlement: {error}", where=name) from None
    if (found.station_id, found.session_id) != (charger.station_id, charger.session_id):
        raise VerificationError(
            f"session {found.session_id} of {found.station_id}, the bundle has {charger.session_id} of "
            f"{charger.station_id}",
            where=name,
        )
    return found


class _Ended(msgspec.Struct, frozen=True):
    """Data of an end; a program that failed without a session has no figures."""

    session_id: str = ""
    charged_mwh: int = 0
    discharged_mwh: int = 0


class _Event(msgspec.Struct, frozen=True):
    stage: str
    name: str
    data: msgspec.Raw


def read_vehicle(lines: Iterable[bytes], session_id: str, *, name: str) -> Figures:
    """Return what a vehicle measured at its battery, from its events `session ended` and `failed`.

    Parts of a paused session add up. Raises VerificationError for a line that is no event, and without the session.
    """
    parts = []
    for number, line in enumerate(lines, 1):
        try:
            event = typed_json.decode(line, _Event)
            if event.stage == "session" and event.name in ("ended", "failed"):
                ended = typed_json.decode(bytes(event.data), _Ended)
                parts += [ended] if ended.session_id == session_id else []
        except msgspec.DecodeError as error:
            raise VerificationError(f"no event of a vehicle: {error}", where=f"{name}:{number}") from None
    if not parts:
        raise VerificationError(f"no end of session {session_id}", where=name, hint="give the vehicle's event log")
    return Figures(
        source="vehicle",
        import_mwh=sum(part.charged_mwh for part in parts),
        export_mwh=sum(part.discharged_mwh for part in parts),
    )
