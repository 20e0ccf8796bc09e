"""Permitted output, requested phase, and verdicts of a monitor."""

import enum
from typing import Final, Self

import msgspec

UNBOUNDED: Final = 1_000_000_000


class Phase(enum.Enum):
    """The vehicle's requested phase."""

    IDLE = "idle"
    """Nothing: the contactor is open."""
    VOLTAGE = "voltage"
    """Voltage without power: cable check and pre-charge."""
    POWER = "power"
    """Power within all limits: the charge loop, and with less of it the alignment of a wireless vehicle."""
    REST = "rest"
    """No power, while the contactor may stay closed: standby and the way out. Only from POWER."""


class Output(msgspec.Struct, frozen=True):
    """Output limits: power and current into the vehicle (`charge`) and out of it (`discharge`), voltage. Currents are
    those of each line conductor with alternating current."""

    charge_w: int = 0
    discharge_w: int = 0
    charge_ma: int = UNBOUNDED
    discharge_ma: int = UNBOUNDED
    voltage_mv: int = UNBOUNDED

    def within(self, other: "Output") -> "Output":
        """Return the lower of both."""
        return Output(
            min(self.charge_w, other.charge_w),
            min(self.discharge_w, other.discharge_w),
            min(self.charge_ma, other.charge_ma),
            min(self.discharge_ma, other.discharge_ma),
            min(self.voltage_mv, other.voltage_mv),
        )

    def agreed(self) -> Self:
        """Return what limits that precede power agree on: a charger's 0 W or 0 A is a pause, which bounds nothing."""
        return msgspec.structs.replace(self, charge_w=self.charge_w or UNBOUNDED, charge_ma=self.charge_ma or UNBOUNDED)

    def bounded(self, agreed: "Output", *, raises: bool = False) -> Self:
        """Return a peer's limits within those that were agreed before power: the voltage always, with which the
        insulation was tested; powers and currents unless the peer `raises` them."""
        least = self.within(agreed)
        changes = {"voltage_mv": least.voltage_mv} if raises else msgspec.structs.asdict(least)
        return msgspec.structs.replace(self, **changes)


NOTHING: Final = Output(0, 0, 0, 0, 0)


class Lower(msgspec.Struct, frozen=True):
    """Reduce to `output`. `reason` is the code of the cause."""

    reason: str
    output: Output


class Open(msgspec.Struct, frozen=True):
    """No output, and the contactor open, permanently. `reason` is the code of the fault."""

    reason: str


Verdict = Lower | Open
