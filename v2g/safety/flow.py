"""What flows, compared with what may flow: size and direction, with margins and over time. Pure.

Shared by sessions and monitors of both roles; each has its own state and its own bounds.
"""

from typing import Final

import msgspec

from v2g.safety.excess import Excess, Highest, Lag, weigh

FRACTION: Final = 20
"""The accuracy of a controlled current, a twentieth (IEC 61851-23: 5 % of the command above 50 A)."""


MOST_DECLARED_MA: Final = 10_000
"""The widest accuracy of control that a charger may declare, mA: recorded is a charger that keeps to 10 A."""


class Margin(msgspec.Struct, frozen=True):
    """Tolerance of a flow: `sensor` always, and for a flow that is permitted `control` or a twentieth of its bound.

    In the forbidden direction, and at a bound of 0, nothing is controlled: only the sensor's error remains.
    """

    sensor: int
    control: int

    def of(self, bound: int) -> int:
        """Return the margin of a bound."""
        return self.sensor + (max(self.control, bound // FRACTION) if bound else 0)

    def declared(self, control: int) -> "Margin":
        """Return it with the accuracy of control that a charger declares, if wider; at most `MOST_DECLARED_MA`."""
        return Margin(self.sensor, max(self.control, min(control, MOST_DECLARED_MA)))


DIRECT: Final = Margin(sensor=1_000, control=2_500)
"""Of a direct current, mA: the offset of a sensor for hundreds of amperes, and the accuracy of control below 50 A
(IEC 61851-23: 2.5 A)."""

ALTERNATING: Final = Margin(sensor=150, control=350)
"""Of a power of a vehicle's own charger, or a coil, W: its stand-by and the meter's starting current in three phases
are below 150 W; the step of a duty cycle is 0.1 % or 0.06 A, of control 0.5 A in each of three phases."""


LINE: Final = Margin(sensor=650, control=500)
"""Of the current of one conductor of a vehicle's own charger, mA: the same stand-by of 150 W at 230 V, and the same
steps of the duty cycle and control."""

PACK: Final = Margin(sensor=5_000, control=0)
"""Of the current at a battery's terminals, mA: with it flows what the vehicle's own loads draw, 2 kW at 400 V."""


class Flow(msgspec.Struct, frozen=True):
    """A flow's bounds, which may be followed with a delay, what it has used of that, and its excess over them."""

    most: Highest = Highest()
    least: Highest = Highest()
    excess: Excess = Excess()
    charge: Lag = Lag()
    discharge: Lag = Lag()

    def then(self, flow: int, most: int, least: int, *, margin: Margin, follow_us: int, now_us: int) -> "Flow":
        """Return it with a sample of the flow, signed, and the present bounds into the vehicle and out of it, both
        magnitudes."""
        up, down = self.most.then(most, now_us, follow_us), self.least.then(least, now_us, follow_us)
        charge = self.charge.then(flow, most, up.most, margin=margin.of(most), follow_us=follow_us, now_us=now_us)
        discharge = self.discharge.then(
            -flow, least, down.most, margin=margin.of(least), follow_us=follow_us, now_us=now_us
        )
        into, out = (
            bound.value if lag.used_up(follow_us) else bound.most for bound, lag in ((up, charge), (down, discharge))
        )
        weight = 0
        if not -out <= flow <= into:
            weight = max(weigh(flow - into, margin.of(into)), weigh(-flow - out, margin.of(out)))
        excess = self.excess.then(weight, now_us)
        if (
            up is self.most
            and down is self.least
            and excess is self.excess
            and charge is self.charge
            and discharge is self.discharge
        ):
            return self  # as in nearly every turn of a monitor
        return Flow(up, down, excess, charge, discharge)

    def forget(self) -> "Flow":
        """Return it without its excess; bounds that may still be followed stay."""
        return Flow(self.most, self.least)
