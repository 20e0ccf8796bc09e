"""Conditions of contactor, pilot and voltage that stop a session, in any edition."""

import enum
from typing import Final

from secc.session import ports
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.message_timing import SessionTime

OVER_VOLTAGE: Final = 110
"""Percent of the vehicle's maximum voltage above which the output is switched off at once."""

OVER_VOLTAGE_S: Final = 0.4
"""How long the output may exceed that voltage by more than the tolerance of its control (IEC 61851-23 CC.6.2)."""

LOWERED: Final = "vehicle_voltage_lowered"
"""Reason for the end of a session whose vehicle lowers its maximum voltage below that of the output."""

STATE_B: Final = "vehicle_not_ready"
"""Reason for the end of a session whose vehicle has left C and D while energy may flow, and is still connected."""

_NOT_READY: Final = frozenset({PilotState.A, PilotState.B, PilotState.E, PilotState.F})


class OutputUse(enum.Enum):
    """Use of the output, by the progress of the session."""

    NONE = "none"
    CLOSING = "closing"
    CHARGING = "charging"
    HELD = "held"
    """The vehicle has interrupted by its pilot: the contactor is open, the loop continues."""
    OPENING = "opening"


class OutputGuard:
    """Whether voltage may be at the output, and hardware conditions against it. Its timer: `over_voltage`."""

    def __init__(self, time: SessionTime) -> None:
        self._time = time
        self._kept_mv = 0
        self.powered = False
        """Whether voltage may be at the output."""
        self.excess = ""
        """Why the output exceeds the vehicle's maximum: `over_voltage`, a fault of the charger, or `LOWERED`."""

    def commanded(self, command: object) -> None:
        """Note what a command opens, because it must be closed again."""
        match command:
            case ports.StartCableCheck() | ports.CloseContactors() | ports.CheckAlignment():
                self.powered = True
            case ports.EmergencyOff():
                self.powered = False

    def contactor(self, fact: ports.ContactorState, use: OutputUse) -> str:
        """Handle the auxiliary contact's state; return the fault, or empty.

        A contactor that the pilot has opened has the pilot's state as fault: `pilot_b`.
        """
        match use:
            case OutputUse.CLOSING:
                return ""
            case OutputUse.OPENING:
                self.powered = self.powered and fact.closed  # in other uses open contacts may be about to close
                return ""
            case OutputUse.CHARGING if not fact.closed:
                return fact.why or "contactor_dropped"
        return "contactor_welded" if fact.closed and (not self.powered or use is OutputUse.HELD) else ""

    def pilot(self, state: PilotState, use: OutputUse) -> str:
        """Return the reason for ending the session by this state of the pilot, or empty."""
        if state is PilotState.A:
            return "unplugged"
        if self.powered and state in _NOT_READY and use is not OutputUse.OPENING:
            # it left C or D while energy may flow: by the vehicle, which is still connected in B, or by an error
            return STATE_B if state is PilotState.B else "pilot_lost"
        return ""

    def over_voltage(self, voltage_mv: int, most_mv: int | None) -> bool:
        """Return whether the voltage requires switching off at once; a small excess starts the timer. The maximum is
        None while nothing is known of the vehicle.

        An excess over the vehicle's maximum is switched off, whatever the hardware's own monitor allows (IEC 61851-23).
        """
        if not self.powered or most_mv is None or voltage_mv <= _tolerated(most_mv):
            self._time.disarm("over_voltage")
            self._kept_mv = self._kept_mv if most_mv is None else most_mv
            return False
        self.excess = LOWERED if voltage_mv <= _tolerated(self._kept_mv) else "over_voltage"
        if voltage_mv > most_mv * OVER_VOLTAGE // 100:
            return True
        if "over_voltage" not in self._time.timers:
            self._time.arm("over_voltage", OVER_VOLTAGE_S)
        return False


def _tolerated(most_mv: int) -> int:
    """Return the highest voltage within the tolerance of the output's control, mV."""
    return most_mv + max(5_000, most_mv // 100)
