"""Commands of the vehicle's session core to the outside, and facts from it.

Sign rule everywhere: current and power are positive from charger to vehicle (V2G20-1034), so a discharging
battery has a negative current. Voltages mV, currents mA, power W, all integers.
"""

from typing import Final

from v2g.energy.conductors import Currents
from v2g.energy.grid_support import GridSupport
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.iso15118.engine.session import Command, Fact
from v2g.pki.keys import PrivateKey

# --- commands ---


class SetCpState(Command, frozen=True):
    """Switch the control pilot resistor: B is plugged in, C ready for energy (IEC 61851-1). There is no answer."""

    state: PilotState

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return self.state is PilotState.B


class CloseContactor(Command, frozen=True):
    """Connect the battery to the inlet; answered by ContactorState (or HardwareFault) within 1.5 s."""


class OpenContactor(Command, frozen=True):
    """Disconnect the battery from the inlet; answered by ContactorState.

    After a failure the hardware waits for the current to fall below what its contactor may break, but never longer
    than 1 s: the control pilot is at B by then and the charger must be off.
    """

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return True


class SetPowerLimits(Command, frozen=True):
    """The vehicle's present limits, W and never negative; the hardware converts them to current limits.

    `discharge_w` is 0 unless the vehicle has agreed: no energy leaves without its signature (or, with a charger
    that lacks the signed-discharge service, without permission of its policy).
    """

    charge_w: int
    discharge_w: int

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return self.charge_w == self.discharge_w == 0


class DriveIn(Command, frozen=True):
    """Drive on to the charging device; `ahead_cm` is the distance that the charger reports. Outcome: DroveIn.

    `method` is how the vehicle finds the device by itself, if the charger reports no distance.
    """

    ahead_cm: int | None
    method: str = ""


class ObserveDevice(Command, frozen=True):
    """Search for the id of the device below the vehicle, by this method. Outcome: DeviceObserved."""

    method: str


class TransmitId(Command, frozen=True):
    """Let the secondary device send this id to the device below the vehicle. There is no answer."""

    device_id: int


class SetAcPower(Command, frozen=True):
    """Draw (positive) or feed back (negative) this power, W of all phases, by the on-board charger."""

    power_w: int

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return self.power_w == 0


class SetGridSupport(Command, frozen=True):
    """The on-board charger's inverter follows these functions and set-points from now on, within its commanded power:
    none of them raises it."""

    support: GridSupport


class StoreContract(Command, frozen=True):
    """Store a contract received from the charger, durably and at once: its chain (DER, leaf first) and private key."""

    emaid: str
    chain: tuple[bytes, ...]
    key: PrivateKey

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"StoreContract({self.emaid})"


class PostponeInstallation(Command, frozen=True):
    """Remember, durably and at once: before this time (UTC) request no contract, as long as one can pay."""

    until_ms: int


class RefuseContract(Command, frozen=True):
    """Remember, durably and at once: a charger has refused the contract with this leaf (DER); before this time (UTC)
    others come first."""

    leaf: bytes
    until_ms: int


class StoreCheckpoint(Command, frozen=True):
    """Store a countersigned checkpoint with its receipt (both DER SignedMessage), beside everything else.

    Outcome: CheckpointStored.
    """

    session_id: bytes
    number: int
    checkpoint: bytes
    receipt: bytes


class Reported(Command, frozen=True):
    """The output that the charger reports. Only a bench without a DC line between the two uses it; others ignore it."""

    voltage_mv: int
    current_ma: int


# --- facts ---


class PlugState(Fact, frozen=True):
    """State of plug and control pilot at the vehicle: connected means plugged, locked and pilot present."""

    connected: bool


class BatteryState(Fact, frozen=True):
    """Report of the battery management system, several times per second.

    `soc` percent of `capacity_wh`; limits are the battery's present ones, never negative;
    `at_ms` is the battery's own time, which is never set;
    `charged_mwh` and `discharged_mwh` count at the battery's terminals since power-up and only grow. The last four come
    from sensors at the cells and in the pack, None without them: a wrong one may give any number, or none (NaN).
    """

    at_ms: int
    soc: float
    capacity_wh: int
    energy_wh: float
    voltage_mv: int
    current_ma: int
    temperature_c: float
    max_voltage_mv: int
    min_voltage_mv: int
    max_charge_ma: int
    max_discharge_ma: int
    max_charge_w: int
    max_discharge_w: int
    charged_mwh: int = 0
    discharged_mwh: int = 0
    fault: str = ""
    hottest_c: float | None = None
    lowest_cell_mv: float | None = None
    mean_cell_mv: float | None = None
    pressure_kpa: float | None = None


class DroveIn(Fact, frozen=True):
    """The vehicle has moved in its space: `travel_cm` from the entrance, if known, and whether it is in place."""

    in_place: bool
    travel_cm: int | None = None


class DeviceObserved(Fact, frozen=True):
    """The vehicle has observed this id of the device below or above it."""

    device_id: int


class PresentVoltage(Fact, frozen=True):
    """Voltage and current at the vehicle inlet, on the charger's side of the vehicle's contactor.

    Alternating current: the voltage between phase and neutral, the sum of the phases' active currents, on how many
    `lines` there is voltage, 0 if that is not measured, and the current of each. Where that is None, the sum is taken
    as equal on these lines, or all on one. Wireless: output of the secondary device.
    """

    voltage_mv: int
    current_ma: int = 0
    lines: int = 0
    currents: Currents | None = None
    reactive_var: int = 0
    """Reactive power of all phases, positive where it is injected."""
    frequency_hz: float = 0.0
    """Of the grid, alternating current only."""
    grid_event: bool = False
    """Whether the inverter lowers its power because of the grid (AC DER)."""
    direct_ma: int = 0
    """Direct current that the inverter injects beside the alternating one."""

    @property
    def power_w(self) -> int:
        """The active power, W, negative out of the vehicle."""
        return round(self.voltage_mv * self.current_ma / 1_000_000)

    def lines_of(self, phases: int) -> int:
        """Return on how many of the vehicle's phases current may flow: on one where it is not measured which."""
        return min(phases, self.lines or 1) if self.voltage_mv else phases


class ContactorState(Fact, frozen=True):
    """The vehicle's contactor is closed or open, by its auxiliary contact."""

    closed: bool


class HardwareFault(Fact, frozen=True):
    """A fault in the vehicle prevents charging (isolation, contactor, battery). `reason` is a stable reason code."""

    reason: str


class DutyRead(Fact, frozen=True):
    """The present duty cycle of the control pilot."""

    reading: DutyReading


class StopRequested(Fact, frozen=True):
    """The driver, or the program that runs the session, requests an orderly end.

    `pause` stores the session for later; `reselect` ends only the present services and selects again (if the charger
    supports it).
    """

    reason: str
    pause: bool = False
    reselect: bool = False


class NeedsChanged(Fact, frozen=True):
    """The driver's needs have changed: departure, charge at departure, minimum charge. None: unchanged.

    A dynamic session sends them in the next loop, a scheduled one makes a new plan.
    """

    departure_ms: int | None = None
    target_soc: float | None = None
    minimum_soc: float | None = None


class ConsentChanged(Fact, frozen=True):
    """The driver consents to discharging, or withdraws the consent."""

    given: bool


class CheckpointStored(Fact, frozen=True):
    """A checkpoint and its receipt are durable, or cannot be stored."""

    number: int
    stored: bool = True


SAFE_MV: Final = 60_000
"""Below it the inlet is safe to touch, and the charger is no longer feeding it."""

SAFE: Final[tuple[Command, ...]] = (SetPowerLimits(0, 0), SetAcPower(0), SetCpState(PilotState.B), OpenContactor())
"""Commands that make the vehicle safe, in this order: no current, pilot signals it to the charger, circuit open."""
