"""Commands to back end and books, and the facts that back end and grid tell."""

import enum

from secc.session.paused import Paused
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import GridResponse, Limit, Setpoint
from v2g.energy.needs import EvNeeds
from v2g.energy.settlement.records import AnyRecord
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.engine.session import Command, Fact


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


class InstallCertificate(Command, frozen=True):
    """Ask the back end for a contract. Outcome: CertificateInstalled with the same `attempt`.

    `schema` is the namespace of its messages, `request_exi` the CertificateInstallationReq as it was received;
    `maximum` and `prioritized_emaids` stand in it.
    """

    attempt: int
    schema: str
    request_exi: bytes
    maximum: int
    prioritized_emaids: tuple[str, ...]


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
    evcc_id: str = ""
    """Who the vehicle says it is."""


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


class KeepSession(Command, frozen=True):
    """Keep a paused session durably, with its books and its transaction open."""

    paused: Paused


class JoinSession(Command, frozen=True):
    """The vehicle of the kept session is back: its books and its transaction go on."""

    session_id: str


class ForgetSession(Command, frozen=True):
    """The kept session will not be joined: close its books and its transaction.

    `reason` is a stable word, `stopped_reason` OCPP's ReasonEnum.
    """

    session_id: str
    reason: str
    stopped_reason: str


class ReportChargingNeeds(Command, frozen=True):
    """What the vehicle wants and can do, for NotifyEVChargingNeeds. Outcome: ChargingNeedsAnswered."""

    needs: EvNeeds


class ReportChargingPlan(Command, frozen=True):
    """What the vehicle will draw by its own word (EVPowerProfile), for NotifyEVChargingSchedule: seconds from now on
    and W, negative for energy that it gives back. A dynamic vehicle will be made to follow instead.
    """

    steps: tuple[tuple[int, int], ...]
    duration_s: int
    dynamic: bool


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
    services: frozenset[int] | None = None
    """Ids of the energy services that are allowed; None leaves them all."""


class EnergyTransferAllowed(Fact, frozen=True):
    """From now on these energy services are allowed, by their ids: the vehicle is to select anew (Q02)."""

    services: frozenset[int]


class InstallationStatus(enum.Enum):
    """What came of a request for a contract."""

    ANSWERED = "answered"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


class CertificateInstalled(Fact, frozen=True):
    """The answer to InstallCertificate.

    `response_exi` is the CertificateInstallationRes for the vehicle; with FAILED it may hold a refusal, or nothing.
    `remaining` is the number of contracts still to come if the back end told it beside the response.
    """

    attempt: int
    status: InstallationStatus
    response_exi: bytes = b""
    remaining: int | None = None


class ChargingNeedsAnswered(Fact, frozen=True):
    """The back end's word on ReportChargingNeeds, as OCPP has it; empty when it could not be asked."""

    status: str


class LimitsForeseen(Fact, frozen=True):
    """What sources will allow later (`valid_from_ms` in the future), in place of what was foreseen before."""

    limits: tuple[Limit, ...]


class InstallationAvailable(Fact, frozen=True):
    """The back end, which is asked for contracts, can be reached or cannot any longer."""

    available: bool


class KeptChanged(Fact, frozen=True):
    """What a vehicle may join that has not yet said which session it means; None is none any more."""

    paused: Paused | None


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


class GridResponseChanged(Fact, frozen=True):
    """Frequency, voltage or the controls that follow them want something else; obeyed at once."""

    response: GridResponse


class TariffChanged(Fact, frozen=True):
    """Prices from now on."""

    tariff: Tariff


class CsmsPricesChanged(Fact, frozen=True):
    """What charging profiles say of prices has changed: a price schedule with its TimeAnchor, None for no word."""

    prices: AbsolutePriceSchedule | PriceLevelSchedule | None


class ProfileSet(Fact, frozen=True):
    """The back end has set a charging profile for this transaction; what follows from it has been told before."""


class StopRequested(Fact, frozen=True):
    """The operator, the CSMS or a person at the charger wants the session to end in order."""

    reason: str


class PauseRequested(Fact, frozen=True):
    """Operator or grid want the vehicle to pause: energy comes later, the session stays."""


class ServiceRenegotiationRequested(Fact, frozen=True):
    """The vehicle is to select services anew."""


class StandbyEnded(Fact, frozen=True):
    """A vehicle in standby may take or give energy again."""


class MeteringConfirmationRequested(Fact, frozen=True):
    """The vehicle is to sign what the meter shows now (a settlement interval has closed)."""


class RenegotiationRequested(Fact, frozen=True):
    """The vehicle is to ask for a new schedule."""
