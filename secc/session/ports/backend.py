"""Commands to back end and journal, and facts from back end and grid."""

import enum

from secc.session.paused import Paused
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import GridResponse, Limit, Setpoint
from v2g.energy.needs import EvNeeds
from v2g.energy.settlement.records import AnyRecord
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.engine.session import Command, Fact
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest


class AuthorizeContract(Command, frozen=True):
    """Ask the CSMS to authorise this contract. Outcome: AuthorizationDecided with the same `attempt`.

    `chain` is leaf first, then sub-CAs, DER; it was already validated here against our own roots.
    """

    attempt: int
    emaid: str
    chain: tuple[bytes, ...]


class AuthorizeExternally(Command, frozen=True):
    """Wait for a card, an app or the operator. Outcome: AuthorizationDecided with the same `attempt`.

    `mac_address` (12 hexadecimal digits) is the vehicle's, to ask about meanwhile (Autocharge); empty: there is none.
    """

    attempt: int
    mac_address: str = ""


class RequestContract(Command, frozen=True):
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


class CloseBooks(Command, frozen=True):
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


class ReportChargingNeeds(Command, frozen=True):
    """The vehicle's needs and capabilities, for NotifyEVChargingNeeds. Outcome: ChargingNeedsAnswered."""

    needs: EvNeeds


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


class AuthorizationStatus(enum.Enum):
    """The CSMS's decision on a contract or a card."""

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


class LimitsForeseen(Fact, frozen=True):
    """Future limits of sources (`valid_from_ms` in the future); they replace the earlier ones."""

    limits: tuple[Limit, ...]


class InstallationAvailable(Fact, frozen=True):
    """The back end that issues contracts has become reachable or unreachable."""

    available: bool


class PausedSessionChanged(Fact, frozen=True):
    """The session that a vehicle may join, until it has named its session; None: none any more."""

    paused: Paused | None


class LimitChanged(Fact, frozen=True):
    """A source (site, operator, CSMS) has raised or lowered its limit; obeyed at once."""

    limit: Limit


class GridChanged(Fact, frozen=True):
    """Limits and prices that belong together: the vehicle gets one offer for both."""

    limits: tuple[Limit, ...]
    tariff: Tariff | None


class SetpointChanged(Fact, frozen=True):
    """The back end requests a power; None withdraws the request."""

    setpoint: Setpoint | None


class GridResponseChanged(Fact, frozen=True):
    """Frequency, voltage or their controls require another power; obeyed at once."""

    response: GridResponse


class PhasesChanged(Fact, frozen=True):
    """An AC outlet now has so many line conductors in use; the contactor is open."""

    lines: int


class TariffChanged(Fact, frozen=True):
    """New prices."""

    tariff: Tariff


class CsmsPricesChanged(Fact, frozen=True):
    """The prices in charging profiles have changed: a price schedule with its TimeAnchor, None for no prices."""

    prices: AbsolutePriceSchedule | PriceLevelSchedule | None


class ProfileSet(Fact, frozen=True):
    """The back end has set a charging profile for this transaction; its effects were reported before."""


class StopRequested(Fact, frozen=True):
    """The operator, the CSMS or a person at the charger requests an orderly end of the session."""

    reason: str


class PauseRequested(Fact, frozen=True):
    """Operator or grid request a pause: energy comes later, the session stays."""


class ServiceRenegotiationRequested(Fact, frozen=True):
    """The vehicle is to select services again."""


class StandbyEnded(Fact, frozen=True):
    """A vehicle in standby may charge or discharge again."""


class MeteringConfirmationRequested(Fact, frozen=True):
    """The vehicle is to sign the present meter reading (a settlement interval has closed)."""


class RenegotiationRequested(Fact, frozen=True):
    """The vehicle is to request a new schedule."""
