"""What the charge point's core asks of the outside (commands) and is told by it (facts).

Signs as everywhere: power and current are positive from charger to vehicle (V2G20-1034). Voltages mV, currents mA,
power W, energy mWh, times ms of UTC; all integers.
"""

import enum

from v2g.grid.limits import Limit, Setpoint
from v2g.grid.tariff import Tariff
from v2g.iso15118.session import Command, Fact
from v2g.settlement.records import AnyRecord
from v2g.slac.pilot import PilotState

# -- commands: hardware -------------------------------------------------------------------------------------------


class StartCableCheck(Command, frozen=True):
    """Close the charger's contactors towards the inlet and test insulation. Outcome: CableCheckFinished."""

    voltage_mv: int


class StartPreCharge(Command, frozen=True):
    """Bring the output to a voltage with next to no current. Done at once; Measured facts tell how far it is."""

    voltage_mv: int


class SetOutput(Command, frozen=True):
    """Drive `current_ma` (signed) into the vehicle from now on. Done at once: the next ampere obeys it.

    The hardware never exceeds `voltage_mv`, nor `charge_w` into the vehicle, nor `discharge_w` out of it.
    """

    voltage_mv: int
    current_ma: int
    charge_w: int
    discharge_w: int


class Reported(Command, frozen=True):
    """What the vehicle says of its battery: its voltage, and the currents that it lets pass (never negative).

    Only a bench without a vehicle at its output believes it; others ignore it.
    """

    voltage_mv: int
    max_charge_ma: int
    max_discharge_ma: int


class CloseContactors(Command, frozen=True):
    """Make sure that the charger's contactors are closed. Outcome: ContactorState."""


class OpenContactors(Command, frozen=True):
    """Bring the current to zero, then open. Outcome: ContactorState."""


class EmergencyOff(Command, frozen=True):
    """No current, no voltage, contactors open, without waiting for anybody. Done at once."""

    reason: str

    @property
    def always(self) -> bool:
        """Also after a failure."""
        return True


# -- commands: back end, meter, books -----------------------------------------------------------------------------


class AuthorizeContract(Command, frozen=True):
    """Ask the CSMS whether this contract may charge. Outcome: AuthorizationDecided with the same `attempt`.

    `chain` is leaf first, then sub-CAs, DER; it was already validated here against our own roots.
    """

    attempt: int
    emaid: str
    chain: tuple[bytes, ...]


class AuthorizeExternally(Command, frozen=True):
    """Wait for a card, an app or the operator. Outcome: AuthorizationDecided with the same `attempt`."""

    attempt: int


class Journal(Command, frozen=True):
    """Write an entry durably, at once: nothing that follows in the list of actions may happen without it."""

    record: AnyRecord


class RecordMeter(Command, frozen=True):
    """Read the meter and write a `meter_reading` durably, at once. Outcome: MeterRead.

    `reason` goes into the entry: `begin`, `direction` (of energy changes) or `stop`. `power_w` is signed.
    """

    reason: str
    power_w: int
    soc: int | None


class CloseBooks(Command, frozen=True):
    """Read the meter a last time and write the last reading, intervals and `session_ended`, at once."""

    reason: str

    @property
    def always(self) -> bool:
        """Also after a failure."""
        return True


class TransactionStarted(Command, frozen=True):
    """Tell the CSMS (durably queued) that somebody is authorised. `emaid` is empty for external identification."""

    session_id: str
    emaid: str


class TransactionUpdated(Command, frozen=True):
    """Tell the CSMS what changed. `trigger` is an OCPP TriggerReasonEnum value, `charging_state` likewise.

    `soc` in percent, or None when the vehicle did not say.
    """

    session_id: str
    trigger: str
    charging_state: str
    power_w: int
    soc: int | None


class TransactionEnded(Command, frozen=True):
    """Tell the CSMS that it is over. `reason` is this project's stable word; `stopped_reason` OCPP's ReasonEnum."""

    session_id: str
    reason: str
    stopped_reason: str
    soc: int | None

    @property
    def always(self) -> bool:
        """Also after a failure."""
        return True


class ReportChargingNeeds(Command, frozen=True):
    """What the vehicle wants and can do, for NotifyEVChargingNeeds; None where it did not say.

    Energies in Wh, `departure_ms` in UTC, discharge figures 0 without DC_BPT.
    """

    service: str
    control_mode: str
    departure_ms: int | None
    max_charge_w: int
    max_discharge_w: int
    max_current_ma: int
    max_voltage_mv: int
    soc: int | None
    target_soc: int | None
    target_energy_wh: int | None
    max_energy_wh: int | None
    min_energy_wh: int | None


# -- facts: hardware and meter ------------------------------------------------------------------------------------


class CableCheckFinished(Fact, frozen=True):
    """The insulation test ended; a failed one ends the session."""

    passed: bool


class ContactorState(Fact, frozen=True):
    """The charger's contactors, seen at their auxiliary contacts."""

    closed: bool


class Measured(Fact, frozen=True):
    """Voltage and current at the output, some times a second and after each change."""

    voltage_mv: int
    current_ma: int


class MeterRead(Fact, frozen=True):
    """The meter's registers, which only grow. `signature` (at most 64 bytes) is the meter's own, if it makes one."""

    utc_ms: int
    import_mwh: int
    export_mwh: int
    meter_id: str
    signature: bytes | None = None


class PilotChanged(Fact, frozen=True):
    """The vehicle was plugged in or out, or became ready or not ready."""

    state: PilotState


class HardwareFault(Fact, frozen=True):
    """The charger cannot go on. `reason` is a stable word."""

    reason: str


# -- facts: back end and grid -------------------------------------------------------------------------------------


class AuthorizationStatus(enum.Enum):
    """What the CSMS says to a contract or a card."""

    ACCEPTED = "accepted"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_INVALID = "certificate_invalid"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


class AuthorizationDecided(Fact, frozen=True):
    """The answer to AuthorizeContract or AuthorizeExternally."""

    attempt: int
    status: AuthorizationStatus


class LimitChanged(Fact, frozen=True):
    """A source (site, operator, CSMS) allows more or less than before; obeyed at once."""

    limit: Limit


class GridChanged(Fact, frozen=True):
    """Limits and prices that belong together: the vehicle gets one offer of them, not one for each."""

    limits: tuple[Limit, ...]
    tariff: Tariff | None


class SetpointChanged(Fact, frozen=True):
    """The back end wishes a power; None takes the wish back."""

    setpoint: Setpoint | None


class TariffChanged(Fact, frozen=True):
    """Prices from now on."""

    tariff: Tariff


class StopRequested(Fact, frozen=True):
    """The operator, the CSMS or a person at the charger wants the session to end in order."""

    reason: str


class MeteringConfirmationRequested(Fact, frozen=True):
    """The vehicle is to sign what the meter shows now (a settlement interval has closed)."""


class RenegotiationRequested(Fact, frozen=True):
    """The vehicle is to ask for a new schedule."""
