"""Shared by the monitors of both sides: permitted output, requested phase, verdicts, and a contactor with its contact.
Pure."""

import enum
from typing import Final, Self

import msgspec

from v2g.safety.excess import UNIT, Excess, microseconds

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


class Contact:
    """A contactor: it has `open_s` and `close_s` to move, and `grace_s` to bounce afterwards."""

    def __init__(self, *, open_s: float, close_s: float, grace_s: float) -> None:
        self._open_s, self._close_s, self._grace_us = open_s, close_s, microseconds(grace_s)
        self.commanded = self.closed = False
        self._arrived, self._moves_until = False, float("-inf")
        self._strays = Excess()

    def close(self, now: float) -> None:
        """It was commanded closed."""
        if not self.commanded:
            self._move(now + self._close_s)

    def open(self, now: float) -> None:
        """It was commanded open."""
        if self.commanded:
            self._move(now + self._open_s)

    def _move(self, until: float) -> None:
        self.commanded, self._moves_until = not self.commanded, until
        self._arrived, self._strays = False, Excess()

    def feedback(self, now: float, *, closed: bool) -> None:
        """The auxiliary contact has this state."""
        self._arrived = self._arrived or closed is self.commanded or self._has_stayed(now)
        self.closed = closed

    def _has_stayed(self, now: float) -> bool:
        """Return whether it was already where it was commanded, and has had its time to move."""
        return self.closed is self.commanded and now >= self._moves_until

    def rests(self, now: float) -> bool:
        """Return whether it was commanded open, and has had its time to move."""
        return not self.commanded and float("-inf") < self._moves_until <= now

    def contradiction(self, now: float) -> str:
        """Return the fault code of a contactor that does not follow its command, or nothing."""
        astray = self.closed is not self.commanded
        self._strays = self._strays.then(UNIT * (astray and self._arrived), microseconds(now))
        if not astray or not (self._strays.lasts(self._grace_us) if self._arrived else now >= self._moves_until):
            return ""
        return "contactor_welded" if self.closed else "contactor_dropped"
