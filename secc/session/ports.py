"""Commands of the charge point's core to the outside, and facts from it.

Signs as everywhere: power and current are positive from charger to vehicle (V2G20-1034). Voltages mV, currents mA,
power W, energy mWh, times ms of UTC; all integers.
"""

import msgspec

from secc.session.config import ControlMode, EnergyService
from secc.session.identity import Contract
from v2g.energy.conductors import Currents
from v2g.energy.discharge_gate import JournalHead
from v2g.energy.grid_signal import Tariff
from v2g.energy.grid_support import Function, GridSupport
from v2g.energy.limits import MOST_MA, GridResponse, Limit, Setpoint
from v2g.energy.needs import EvNeeds
from v2g.energy.settlement.records import AnyRecord
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.session import Command, Fact, Inquiry
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest


class Paused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stored state of a paused session, also over a restart.

    `vehicle` is the binding to the vehicle's certificate; `meter_begin` the registers at the session's beginning.
    """

    session_id: bytes
    vehicle: bytes
    evcc_id: str
    contract: Contract | None
    service: EnergyService
    control_mode: ControlMode
    signed_discharge: bool
    meter_begin: tuple[int, int]
    added: frozenset[int] = frozenset()
    needs_by_secc: bool = False
    pricing: int = 0
    functions: frozenset[Function] = frozenset()
    """Grid support of AC DER that was selected."""
    checkpoints: bool = False
    allowed: frozenset[int] | None = None
    """Ids of the energy services that the back end allows; None: no restriction."""


# -- Back end and journal


class AuthorizeContract(Inquiry, frozen=True):
    """Ask the CSMS to authorise this contract. Outcome: AuthorizationDecided with the same `attempt`.

    `chain` is leaf first, then sub-CAs, DER; with a `known_root` it was already validated here against our own roots.
    """

    attempt: int
    emaid: str
    chain: tuple[bytes, ...]
    known_root: bool = True


class AuthorizeExternally(Inquiry, frozen=True):
    """Wait for a card, an app or the operator. Outcome: AuthorizationDecided with the same `attempt`.

    `mac_address` (12 hexadecimal digits) is the vehicle's, to ask about meanwhile (Autocharge); empty: there is none.
    """

    attempt: int
    mac_address: str = ""


class RequestContract(Inquiry, frozen=True):
    """Ask the back end for a contract. Outcome: ContractAnswered with the same `attempt`."""

    attempt: int
    request: ContractRequest


class Journal(Command, frozen=True):
    """Write an entry durably, at once: no later action in the list may precede it. `utc_ms` is its time, None: now."""

    record: AnyRecord
    utc_ms: int | None = None


class RecordMeter(Command, frozen=True):
    """Read the meter and write a `meter_reading` durably, at once. Outcome: MeterRead.

    `reason` goes into the entry: `begin`, `direction` (of energy changes), `suspend`,
    `resume` or `stop`. `power_w` is signed.
    """

    reason: str
    power_w: int
    soc: int | None


class CloseJournal(Command, frozen=True):
    """Read the meter a last time and write the last reading, intervals and `session_ended`, at once."""

    reason: str

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return True


class TransactionStarted(Command, frozen=True):
    """Report the authorisation to the CSMS (durably queued). `emaid` is empty for external identification."""

    session_id: str
    emaid: str
    evcc_id: str = ""
    """The vehicle's id as it reported it."""
    protocol: str = ""
    """The edition, such as "ISO 15118-2"."""


class TransactionUpdated(Command, frozen=True):
    """Report a change to the CSMS. `trigger` is an OCPP TriggerReasonEnum value, `charging_state` likewise.

    `soc` in percent, or None if the vehicle did not report it.
    """

    session_id: str
    trigger: str
    charging_state: str
    power_w: int
    soc: int | None


class TransactionEnded(Command, frozen=True):
    """Report the end to the CSMS. `reason` is this project's stable reason code; `stopped_reason` OCPP's ReasonEnum."""

    session_id: str
    reason: str
    stopped_reason: str
    soc: int | None

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return True


class SaveSession(Command, frozen=True):
    """Store a paused session durably, with its journal and its transaction open."""

    paused: Paused


class JoinSession(Command, frozen=True):
    """The vehicle of the stored session has returned: its journal and its transaction continue."""

    session_id: str


class ForgetSession(Command, frozen=True):
    """The stored session cannot be joined any more: close its journal and its transaction.

    `reason` is a stable reason code, `stopped_reason` OCPP's ReasonEnum.
    """

    session_id: str
    reason: str
    stopped_reason: str


class ReportChargingNeeds(Inquiry, frozen=True):
    """The vehicle's needs and capabilities, for NotifyEVChargingNeeds. Outcome: ChargingNeedsAnswered."""

    needs: EvNeeds


class ReportGridEvent(Command, frozen=True):
    """A vehicle's inverter begins to act because of the grid (AC DER), or ceases, for NotifyDERAlarm."""

    begun: bool


class ReportChargingPlan(Command, frozen=True):
    """The vehicle's own plan (EVPowerProfile), for NotifyEVChargingSchedule: seconds from now and W, negative for
    discharging. `dynamic`: the charger will set the power instead.
    """

    steps: tuple[tuple[int, int], ...]
    duration_s: int
    dynamic: bool


class ReportLimits(Command, frozen=True):
    """What limits the power now, into the vehicle and out of it; empty strings without a session."""

    charge_limited_by: str = ""
    discharge_limited_by: str = ""


class AuthorizationDecided(Fact, frozen=True):
    """The answer to AuthorizeContract or AuthorizeExternally."""

    attempt: int
    status: AuthorizationStatus
    services: frozenset[int] | None = None
    """Ids of the energy services that are allowed; None: all."""


class EnergyTransferAllowed(Fact, frozen=True):
    """Only these energy services (ids) are allowed from now on: the vehicle is asked to select again (Q02)."""

    services: frozenset[int]


class ContractAnswered(Fact, frozen=True):
    """The answer to RequestContract."""

    attempt: int
    answer: ContractAnswer


class ChargingNeedsAnswered(Fact, frozen=True):
    """The back end's answer to ReportChargingNeeds, an OCPP status; empty if the back end could not be asked."""

    status: str


class InstallationAvailable(Fact, frozen=True):
    """The back end that issues contracts has become reachable or unreachable."""

    available: bool


class PausedSessionChanged(Fact, frozen=True):
    """The session that a vehicle may join, until it has named its session; None: none any more."""

    paused: Paused | None


class GridChanged(Fact, frozen=True):
    """Sources (site, operator, CSMS) have raised or lowered their limits, which are obeyed at once. Prices that belong
    to them come along, for one offer to the vehicle; without a tariff prices stay. So do limits of later times
    (`valid_from_ms` in the future) without new `foreseen` ones."""

    limits: tuple[Limit, ...] = ()
    tariff: Tariff | None = None
    foreseen: tuple[Limit, ...] | None = None


class SetpointChanged(Fact, frozen=True):
    """The back end requests a power, which calls a vehicle out of standby; None withdraws the request."""

    setpoint: Setpoint | None


class GridResponseChanged(Fact, frozen=True):
    """Frequency, voltage or their controls require another power; obeyed at once."""

    response: GridResponse


class GridSupportChanged(Fact, frozen=True):
    """The operator's controls precede the configured values of grid support; None: no longer. New set-points reach the
    vehicle in its next loop, new curves once it has selected its services again."""

    support: GridSupport | None


class PhasesChanged(Fact, frozen=True):
    """An AC outlet now has so many line conductors in use; the contactor is open."""

    lines: int


class StopRequested(Fact, frozen=True):
    """The operator, the CSMS or a person at the charger requests an orderly end of the session."""

    reason: str


class PauseRequested(Fact, frozen=True):
    """Operator or grid request a pause: energy comes later, the session stays."""


class MeteringConfirmationRequested(Fact, frozen=True):
    """The vehicle is to sign the present meter reading (a settlement interval has closed)."""


class RenegotiationRequested(Fact, frozen=True):
    """The vehicle is to request a new schedule."""


# -- Power hardware and meter


class Energising(Command, frozen=True):
    """Base of commands that apply voltage or current to the output: none is carried out after an EmergencyOff."""


class DrivesPower(Energising, frozen=True):
    """Base of commands that drive power. A reduction takes effect also while the journal is being written."""

    @property
    def overtakes(self) -> Command:
        """A reduction does not wait for the journal; an increase does."""
        assert isinstance(self, Output)
        return LowerOutput(self)

    def supersedes(self, earlier: Command) -> bool:
        """An earlier output that still waits for the journal is dropped."""
        return isinstance(earlier, DrivesPower)


class StartCableCheck(Energising, frozen=True):
    """Close the charger's contactors towards the inlet and test insulation. Outcome: CableCheckFinished."""

    voltage_mv: int


class StartPreCharge(Energising, frozen=True):
    """Bring the output to a voltage at minimal current. Done at once; Measured facts report the progress."""

    voltage_mv: int


class SetOutput(DrivesPower, frozen=True):
    """Drive `current_ma` (signed) into the vehicle. Done at once: effective immediately.

    The hardware never exceeds `voltage_mv`, nor `charge_w` into the vehicle, nor `discharge_w` out of it.
    """

    voltage_mv: int
    current_ma: int
    charge_w: int
    discharge_w: int


class SetAcOutput(DrivesPower, frozen=True):
    """Let the vehicle draw or feed back this power. Done at once, as far as a charge point can.

    With alternating current the vehicle's own charger controls the power; the charge point sends the target in its
    messages, permits at most `charge_w` and `discharge_w` on all conductors together and `charge_ma` and
    `discharge_ma` on each, and opens if the vehicle exceeds them.
    `power_w` is the target (signed, all phases together), None if the vehicle follows a schedule by itself.
    `lines` is the number of line conductors that the vehicle uses, 0 if unknown.
    """

    charge_w: int
    discharge_w: int
    power_w: int | None = None
    charge_ma: int = MOST_MA
    discharge_ma: int = MOST_MA
    lines: int = 0


class SetWptOutput(DrivesPower, frozen=True):
    """Send this power through the primary device, at most `charge_w`. Done at once."""

    charge_w: int
    power_w: int

    @property
    def discharge_w(self) -> int:
        """No power flows back."""
        return 0


Output = SetOutput | SetAcOutput | SetWptOutput
"""Commands that drive power, by the kind of current."""


class LowerOutput(Command, frozen=True):
    """Limit the output to `output` as far as that is less than the present one; nothing rises. Done at once."""

    output: Output


class StartPositioning(Command, frozen=True):
    """Observe the vehicle's positioning, by this method. DeviceChanged facts report the progress."""

    method: str


class StartPairing(Command, frozen=True):
    """Let the primary device send its id, or search for the vehicle's, by this method."""

    method: str
    device_id: int


class CheckAlignment(DrivesPower, frozen=True):
    """Drive the primary device's coil with this current to check the vehicle's alignment, sending at most
    `power_w`; 0 switches the field off."""

    current_ma: int
    power_w: int

    @property
    def overtakes(self) -> Command:
        """A reduction does not wait for the journal."""
        return LowerOutput(SetWptOutput(charge_w=self.power_w, power_w=self.power_w))


class MoveDevice(Command, frozen=True):
    """Move the connection device to the vehicle, or home. DeviceChanged facts report the progress."""

    to_vehicle: bool


class Reported(Command, frozen=True):
    """The vehicle's report of its battery: its voltage, and its present maximum currents (never negative).

    Only a bench without a vehicle at its output uses it; others ignore it.
    """

    voltage_mv: int
    max_charge_ma: int
    max_discharge_ma: int


class CloseContactors(Energising, frozen=True):
    """Ensure that the charger's contactors are closed. Outcome: ContactorState."""


class OpenContactors(Command, frozen=True):
    """Bring the current to zero, then open. Outcome: ContactorState."""

    @property
    def overtakes(self) -> Command:
        """Takes effect also while the journal is being written: without messages nothing else removes the power."""
        return self

    def supersedes(self, earlier: Command) -> bool:
        """Commands that would apply power, and still wait for the journal, are dropped."""
        return isinstance(earlier, Energising)


class EmergencyOff(Command, frozen=True):
    """No current, no voltage, contactors open, without waiting. Done at once."""

    reason: str

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return True

    @property
    def overtakes(self) -> Command:
        """Takes effect also while the journal is being written."""
        return self

    def supersedes(self, earlier: Command) -> bool:
        """Commands that would restore power, and still wait for the journal, are dropped."""
        return isinstance(earlier, Energising)


class SetPilot(Command, frozen=True):
    """Show this duty cycle (percent) on the control pilot, None is the oscillator off. `forced` is E or F instead."""

    duty_percent: float | None = None
    forced: PilotState | None = None

    @property
    def overtakes(self) -> Command:
        """Off, E and F, and a lower current than the present one, do not wait for the journal; a higher one does."""
        return self if self.duty_percent is None else LowerPilot(self.duty_percent)

    def supersedes(self, earlier: Command) -> bool:
        """An earlier state that still waits for the journal is dropped."""
        return isinstance(earlier, SetPilot)


class LowerPilot(Command, frozen=True):
    """Show this duty cycle (percent, one that expresses a current) if the present one is larger. Done at once."""

    duty_percent: float


class Ventilate(Command, frozen=True):
    """Switch the ventilation that a vehicle in state D needs on or off."""

    on: bool


class CableCheckFinished(Fact, frozen=True):
    """The insulation test has ended; a failure ends the session, and `why` says what failed where no fault does."""

    passed: bool
    why: str = ""


class ContactorState(Fact, frozen=True):
    """The charger's contactors, by their auxiliary contacts.

    `why` is the interlock's reason for opening them by itself: `pilot_` and the state's letter, or a fault; empty if
    they opened by command, or without one.
    """

    closed: bool
    why: str = ""


class Device(msgspec.Struct, frozen=True):
    """Known state of a primary or connection device and the vehicle at it.

    `x_cm`/`y_cm` is the vehicle's distance from its place, `observed_id` the id that the device has observed of the
    vehicle, `confirmed` whether a person has confirmed the pairing, `aligned` the outcome of an alignment check with
    the power sent. `mechanical` is `Home`, `Moving` or `EndPosition`, `connected` whether all contacts have closed,
    `insulation` a value of the schema, `trouble` a value of SPCChargeDiagnostics or empty.
    """

    in_place: bool = False
    x_cm: int = 0
    y_cm: int = 0
    observed_id: int | None = None
    confirmed: bool = False
    aligned: bool | None = None
    alignment_w: int = 0
    coil_ma: int = 0
    mechanical: str = "Home"
    connected: bool = False
    insulation: str = "Invalid"
    trouble: str = ""


class DeviceChanged(Fact, frozen=True):
    """The primary or connection device, or the vehicle at it, has changed."""

    device: Device


class Measured(Fact, frozen=True):
    """Voltage and current at the output, several times per second and after each change.

    Alternating current: the voltage between phase and neutral, and the sum of the phases' active currents, so that
    their product is the power; `currents` are those of the conductors, None if only the sum is measured. A primary
    device reports only power.
    """

    voltage_mv: int
    current_ma: int
    power_w: int | None = None
    currents: Currents | None = None

    @property
    def watts(self) -> int:
        """The present power, W, signed."""
        return self.voltage_mv * self.current_ma // 1_000_000 if self.power_w is None else self.power_w


class MeterRead(Fact, frozen=True):
    """Both registers of the meter (mWh), which only grow, at a time (ms of UTC). Import is energy into the vehicle,
    export energy out of it. `signature` (at most 64 bytes) is the meter's own, if it creates one.

    The meter itself shows `rolled` less, if its registers start again at `rollover_mwh`. If it has not `answered`, they
    are old. A reading in the journal is durable; it has the `reason` of its entry, and the journal's head after it.
    """

    utc_ms: int
    import_mwh: int
    export_mwh: int
    rolled: tuple[int, int] = (0, 0)
    rollover_mwh: int | None = None
    answered: bool = True
    signature: bytes | None = None
    reason: str = ""
    journal: JournalHead | None = None

    @property
    def shown(self) -> dict[str, int]:
        """What the meter shows as `import_mwh` and `export_mwh`; nothing if it has not answered."""
        if not self.answered:
            return {}
        return {"import_mwh": self.import_mwh - self.rolled[0], "export_mwh": self.export_mwh - self.rolled[1]}


class PilotChanged(Fact, frozen=True):
    """The vehicle was plugged or unplugged, or became ready or not ready."""

    state: PilotState


class HardwareFault(Fact, frozen=True):
    """The charger cannot continue. `reason` is a stable reason code."""

    reason: str
