"""What a charger reports and cannot be right: limits that contradict each other, and values of another sign.

Shared by all editions, whose modules `plausibility` read their messages. A finding ends the session: there is no
setting that ignores one, only quirks known by name (`v2g.iso15118.engine.quirks`). Pure.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from evcc.session.steps import seen
from v2g.observe import Observe

NO_ERROR: Final = "NO_ERROR"
INCOMPATIBLE: Final = "FAILED_ChargingSystemIncompatibility"
WRONG_CURRENT: Final = "FAILED_ChargingCurrentdifferential"
WRONG_VOLTAGE: Final = "FAILED_ChargingVoltageOutOfRange"
"""Names of DC_EVErrorCode in ISO 15118-2 and DIN 70121."""

OVER_VOLTAGE_PERCENT: Final = 110
"""Above this fraction of the vehicle's maximum no voltage is plausible before the contactor closes (IEC 61851-23)."""

NOISE_MV: Final = 5_000
NOISE_MA: Final = 5_000
"""How far a sensor without voltage or current may show a negative value."""


class Implausible(msgspec.Struct, frozen=True):
    """A report that cannot be right: the cause of the session's end, the field, and its value in the small unit.

    `ev_error` is the DC_EVErrorCode that the vehicle then sends, where its edition has one.
    """

    cause: str
    field: str
    value: int | str
    ev_error: str = INCOMPATIBLE

    def event(self, message: str) -> Observe:
        """Return the event of a finding in a message."""
        return seen(
            "session", "implausible_response", message=message, cause=self.cause, field=self.field, value=self.value
        )


def limits(values: Mapping[str, int]) -> Implausible | None:
    """Judge limits by the names of their fields, `evse_minimum_...` beside `evse_maximum_...`.

    A maximum of 0 A or 0 W is a pause, a voltage of 0 is none. Limits of discharge count by magnitude: sources disagree
    on their sign.
    """
    for name, value in values.items():
        if value < 0 and "discharge" not in name:
            return Implausible("evse_limit_negative", name, value)
        if value == 0 and "voltage" in name and "minimum" not in name:
            return Implausible("evse_limits_contradict", name, value, WRONG_VOLTAGE)
    for name, most in values.items():
        least = name.replace("maximum", "minimum")
        if most and abs(values.get(least, 0)) > abs(most):
            return Implausible("evse_limits_contradict", least, values[least])
    return None


def present(
    *, voltage: tuple[str, int], current: tuple[str, int] | None = None, max_voltage_mv: int | None = None
) -> Implausible | None:
    """Judge the present output, each by its field's name and mV or mA; `max_voltage_mv` is that of a battery whose
    contactor is closed: before that an output falls slowly from the voltage of the cable check, and the vehicle waits.

    `current` is given where none may flow out of the vehicle.
    """
    name, voltage_mv = voltage
    above = max_voltage_mv is not None and voltage_mv > max_voltage_mv * OVER_VOLTAGE_PERCENT // 100
    if voltage_mv < -NOISE_MV or above:
        return Implausible("evse_voltage_out_of_range", name, voltage_mv, WRONG_VOLTAGE)
    if current is not None and current[1] < -NOISE_MA:
        return Implausible("evse_current_out_of_range", *current, WRONG_CURRENT)
    return None
