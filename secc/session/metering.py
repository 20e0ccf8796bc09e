"""The readings that a vehicle signs by the plain standard: remembered when sent, and journaled once confirmed."""

from typing import Final

from msgspec.structs import replace

from secc.session.ports import Journal
from secc.session.stages import Charging, Stopping
from v2g.energy.settlement.records import MeteringConfirmed
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe, Scalar

REMEMBERED_READINGS: Final = 8
"""Number of readings that a vehicle may still confirm; loops continue while it signs."""


def remember(stage: Charging, reading: object) -> Charging:
    """Return the stage with a reading (MeterInfo) that is being sent."""
    if stage.sent_readings and stage.sent_readings[-1] == reading:
        return stage
    return replace(stage, sent_readings=(*stage.sent_readings, reading)[-REMEMBERED_READINGS:])


def confirm(
    stage: Charging | Stopping,
    reading: object,
    payload: bytes,
    *,
    charged_wh: int | None,
    discharged_wh: int | None = None,
) -> tuple[Charging | Stopping, tuple[Command | Observe, ...]]:
    """Return the stage after the confirmation of a sent reading, and the commands that journal it.

    `payload` is the verified message. A repetition is in the journal already, and does not fill it.
    """
    contract = stage.selected.contract
    assert contract is not None, "only a contract signs readings"
    if reading == stage.confirmed:
        return stage, ()
    seen: dict[str, Scalar] = {"charged_wh": charged_wh, "discharged_wh": discharged_wh, "emaid": contract.emaid}
    commands = (Journal(MeteringConfirmed(payload=payload)), Observe("metering", "confirmed", seen))
    left = stage.sent_readings[stage.sent_readings.index(reading) :]
    return replace(stage, sent_readings=left, confirmed=reading), commands
