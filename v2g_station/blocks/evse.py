"""EVSEs and connectors as the station sees them, facts reported by hardware, and commands to it."""

from typing import Literal

import msgspec

from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import OCSPRequestData, OperationMode
from v2g.ocpp.messages.metering import MeterValue
from v2g.ocpp.messages.transactions import ChargingState, Reason, TransactionLimit
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.kernel.kernel import StationCommand

PowerState = Literal["EVConnected", "Charging", "SuspendedEV", "SuspendedEVSE"]


class Plug(Fact, frozen=True, kw_only=True):
    """Cable state: its end at the station (always true for a fixed cable) and at the vehicle."""

    evse_id: int
    connector_id: int = 1
    station: bool = True
    vehicle: bool


class Bay(Fact, frozen=True, kw_only=True):
    """The parking bay is occupied, or no longer."""

    evse_id: int
    occupied: bool


class TokenPresented(Fact, frozen=True, kw_only=True):
    """A presented identifier. Without `evse_id` the reader serves all EVSEs. `prompt_all` for a master pass: end these
    transactions, all of them if it is empty and there is no way to choose (C16)."""

    id_token: IdToken
    evse_id: int | None = None
    chosen: tuple[int, ...] = ()


class VehicleAddress(Fact, frozen=True, kw_only=True):
    """A vehicle waits for external identification and has this MAC address (Autocharge); empty when it has left."""

    evse_id: int
    mac_address: str = ""


class ContractPresented(Fact, frozen=True, kw_only=True):
    """A vehicle's contract (C07). `chain_pem` is leaf first; `hashes` are those for OCSP (C07.FR.02)."""

    evse_id: int
    emaid: str
    chain_pem: str = ""
    hashes: tuple[OCSPRequestData, ...] = ()
    locally_valid: bool | None = None
    """The result of the charger's own validation of the chain, None if not possible (no root)."""
    accept_unknown: bool = False
    """Whether it may charge offline, too, where neither list nor cache has it; else OfflineTxForUnknownIdEnabled says
    so, for cards as well."""
    within_s: float | None = None
    """How long the vehicle waits for the CSMS, which then counts as offline; None for as long as any message."""


class StopButton(Fact, frozen=True, kw_only=True):
    """The driver requests the end without identification (E07)."""

    evse_id: int


class Power(Fact, frozen=True, kw_only=True):
    """The state of the energy flow; `EVConnected` for none, after a stop."""

    evse_id: int
    state: PowerState
    phases: int | None = None


class PowerLimited(Fact, frozen=True, kw_only=True):
    """What limits the power now, into the vehicle and out of it, as the charger names it; empty without a session."""

    evse_id: int
    charge: str = ""
    discharge: str = ""


class MeterSigns(Fact, frozen=True, kw_only=True):
    """The meter provides signed readings, or no longer."""

    evse_id: int
    available: bool


class Fault(Fact, frozen=True, kw_only=True):
    """Start or end of a hardware fault. EVSE 0 is the whole station; a connector of None the whole EVSE."""

    evse_id: int = 0
    connector_id: int | None = None
    word: str
    active: bool
    stops: bool = True
    component: str = "Connector"
    info: str = ""


class SecurityEventFound(Fact, frozen=True, kw_only=True):
    """What the charger itself has found; `type` is one of OCPP's list of security events (part 2, appendix 1)."""

    type: str
    info: str = ""


class LockFailure(Fact, frozen=True, kw_only=True):
    """A connector could not be locked or unlocked (G05)."""

    evse_id: int
    connector_id: int = 1
    unlocking: bool = False


class Unlocked(Fact, frozen=True, kw_only=True):
    """A connector was unlocked, as commanded."""

    evse_id: int
    connector_id: int = 1


# -- commands


class AllowPower(StationCommand, frozen=True, kw_only=True):
    """Allow or forbid the energy flow."""

    evse_id: int
    allowed: bool
    energy_transfer: tuple[str, ...] = ()
    """See Authorization; empty also for no change."""


class Lock(StationCommand, frozen=True, kw_only=True):
    """Lock or unlock a connector; `Unlocked` or `LockFailure` follows an unlocking."""

    evse_id: int
    connector_id: int
    locked: bool


class Restart(StationCommand, frozen=True, kw_only=True):
    """Restart the station, or one EVSE. If the charger manages transactions, `at_once` ends them first, and with `keep`
    they wait for their vehicles afterwards (B13)."""

    evse_id: int | None
    at_once: bool = True
    keep: bool = False


NoticeWord = Literal[
    "accepted", "rejected", "plug_in", "no_evse", "timeout", "no_priority_charging", "payment_failed", "web_payment",
    "vat_accepted", "vat_rejected", "vat_unknown",
]  # fmt: skip


class Indicate(StationCommand, frozen=True, kw_only=True):
    """Indicate the result of a request to the driver."""

    evse_id: int | None
    word: NoticeWord
    message: str = ""
    """What the CSMS says to the driver, such as why a card is refused (personalMessage)."""


# -- state


class TokenVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of checking an identifier."""

    accepted: bool
    group: str | None = None
    evse_ids: tuple[int, ...] = ()
    languages: tuple[str, ...] = ()
    """The driver's languages (RFC 5646), the preferred one first, as the CSMS has sent them."""
    message: str = ""
    """A message from the CSMS for the driver, e.g. the price (I01)."""
    energy_transfer: tuple[str, ...] = ()
    """The only energy transfer modes (EnergyTransferModeEnum) that the CSMS allows (Q01); empty for any."""

    limit: TransactionLimit | None = None
    """Limits of the transaction due to its payment (C18.FR.06, C25.FR.04 to .06)."""


class Authorization(TokenVerdict, frozen=True, kw_only=True):
    """An authorized identifier."""

    accepted: bool = True
    id_token: IdToken
    remote_start_id: int | None = None
    reservation_id: int | None = None


class EvseConnector(msgspec.Struct, kw_only=True):
    """One connector."""

    number: int
    fixed_cable: bool
    station_end: bool = False
    vehicle_end: bool = False
    faults: set[str] = msgspec.field(default_factory=set)
    locked: bool = False

    @property
    def connected(self) -> bool:
        """Whether a vehicle is connected to it."""
        return self.vehicle_end and (self.fixed_cable or self.station_end)

    @property
    def occupied(self) -> bool:
        """Whether it is in use."""
        return self.vehicle_end if self.fixed_cable else self.station_end


class Evse(msgspec.Struct, kw_only=True):
    """One EVSE and its current use."""

    number: int
    connectors: list[EvseConnector]
    bay: bool = False
    authorization: Authorization | None = None
    owner: IdToken | None = None
    """The last authorized identifier, which may release its cable."""

    power: PowerState = "EVConnected"
    evccid: str = ""
    """The vehicle's own identifier (ISO 15118)."""

    asleep: bool = False
    """Whether its electronics are turned off (Q10)."""

    profile_w: float | None = None
    """The set-point of charging profiles, W; discharging is negative."""

    local_w: dict[OperationMode, float] = msgspec.field(default_factory=dict)
    """Set-points of local control, W, by operation mode."""

    signed: bool = False
    phases: int | None = None
    lines: tuple[int, int] = (1, 1)
    """Of how many conductors its vehicle has sent powers, of charging and of discharging (ISO 15118-20)."""
    record: TransactionRecord | None = None
    reason: Reason | None = None
    """The end reason of the transaction, set before it ends."""

    begun: bool = False
    """Whether the first reading was sent."""

    token_reported: bool = False
    limit_mwh: int | None = None
    """Import register at which energy stops because the identifier is no longer valid (MaxEnergyOnInvalidId)."""

    at_limit: bool = False
    """Whether a limit of its transaction is reached (E16)."""

    ended_values: list[MeterValue] = msgspec.field(default_factory=list)
    resuming: bool = False
    """Whether its transaction waits to be resumed; power states from the hardware are then ignored."""

    faults: set[str] = msgspec.field(default_factory=set)
    asking: IdToken | None = None
    last_state: ChargingState | None = None

    def connector(self, number: int) -> EvseConnector | None:
        return next((each for each in self.connectors if each.number == number), None)

    @property
    def plugged(self) -> EvseConnector | None:
        """The connector that a vehicle is connected to."""
        return next((each for each in self.connectors if each.connected), None)

    @property
    def free(self) -> bool:
        """Whether it is not in use."""
        return self.record is None and self.authorization is None and not any(c.occupied for c in self.connectors)

    @property
    def setpoint_w(self) -> float | None:
        """The set-point, W: of local control, else of charging profiles."""
        return next(iter(self.local_w.values()), self.profile_w)

    def conditions(self) -> frozenset[str]:
        """Return which of the TxStartPoint and TxStopPoint conditions hold (part 2, 2.6.6)."""
        connected, authorized = self.plugged is not None, self.authorization is not None
        holds = {
            "ParkingBayOccupancy": self.bay,
            "EVConnected": connected,
            "Authorized": authorized,
            "PowerPathClosed": connected and authorized,
            "EnergyTransfer": connected and self.power == "Charging",
            "DataSigned": self.signed,
        }
        return frozenset(name for name, true in holds.items() if true)

    def charging_state(self) -> ChargingState:
        """Return the charging state for events."""
        return self.power if self.plugged is not None else "Idle"
