"""What a handler of any edition knows beside its stage."""

from typing import Final, TypedDict

import msgspec

from evcc.session.ports import BatteryState, PresentVoltage
from evcc.session.settings import SessionConfig
from v2g.iso15118.engine.sequence import State
from v2g.safety.output import Output

MATCHED_MV: Final = 10_000
"""Maximum difference of inlet and battery voltage for closing the contactor."""


class EvseLimits(Output, frozen=True):
    """The charger's limits, never negative; UNBOUNDED where it states none. With alternating current `voltage_mv` is
    the nominal one."""

    min_voltage_mv: int = 0
    tolerance_ma: int = 0
    """How far a direct current may be from its target, as the charger declares it, with the ripple."""


class CommonContext(TypedDict):
    """The fields of `Context`, as a session of any edition has them."""

    config: SessionConfig
    now: float
    utc_ms: int
    session_ms: int
    state: State
    session_id: bytes
    battery: BatteryState
    inlet: PresentVoltage
    contactor_closed: bool
    departure_ms: int
    fresh: bool
    woken_at: int | None


class Context(msgspec.Struct, frozen=True):
    """The present state except the stage.

    `session_ms` is UTC as if it had not been set since the session began: durations count by it. `departure_ms` is on
    the clock of `utc_ms`, and moves with it when that is set.
    """

    config: SessionConfig
    now: float
    utc_ms: int
    session_ms: int
    state: State
    session_id: bytes
    battery: BatteryState
    inlet: PresentVoltage
    contactor_closed: bool
    departure_ms: int
    fresh: bool = True
    """Whether battery and inlet have reported recently."""
    woken_at: int | None = None
    """The step of the program in which the vehicle was woken from a pause: it waits for the rest of it in the loop."""

    @property
    def left_ms(self) -> int:
        """How long it is to departure, negative after it."""
        return self.departure_ms - self.utc_ms


def matched(context: Context) -> bool:
    """Return whether the contactor may close: recent measurements at the inlet count, not the charger's reports."""
    across_mv = abs(context.inlet.voltage_mv - context.battery.voltage_mv)
    return context.fresh and not context.battery.fault and across_mv <= MATCHED_MV


def departure_s(context: Context) -> int:
    """Return the seconds until departure, 0 once it has passed."""
    return max(0, min(0xFFFF_FFFF, context.left_ms // 1000))


def energy_up_to(soc: float, context: Context) -> int:
    """Return the energy (Wh) that the battery lacks for a state of charge, negative above it."""
    return int(context.battery.capacity_wh * (soc - context.battery.soc) / 100)
