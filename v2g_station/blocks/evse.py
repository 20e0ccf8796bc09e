"""EVSEs and connectors as the station sees them, the facts that hardware tells of them, and what it is told to do."""

from typing import Literal

import msgspec

from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import OperationMode
from v2g.ocpp.messages.metering import MeterValue
from v2g.ocpp.messages.transactions import ChargingState, Reason, TransactionLimit
from v2g_station.blocks.transactions.transactions import TransactionRecord
from v2g_station.kernel.kernel import Command

PowerState = Literal["EVConnected", "Charging", "SuspendedEV", "SuspendedEVSE"]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what hardware tells the station."""


class Plug(Fact, frozen=True, kw_only=True):
    """How a cable is plugged: its end at the station (always true for a fixed cable) and at the vehicle."""

    evse_id: int
    connector_id: int = 1
    station: bool = True
    vehicle: bool


class Bay(Fact, frozen=True, kw_only=True):
    """Something stands in the parking bay, or no longer."""

    evse_id: int
    occupied: bool


class Token(Fact, frozen=True, kw_only=True):
    """Somebody identifies himself. Without `evse_id` the reader serves all EVSEs. `prompt_all` for a master pass: end
    these transactions, all of them when it is empty and there is no way to choose (C16)."""

    id_token: IdToken
    evse_id: int | None = None
    chosen: tuple[int, ...] = ()


class Contract(Fact, frozen=True, kw_only=True):
    """A vehicle shows its contract (C07). `chain_pem` is leaf first; `hashes` are those for OCSP."""

    evse_id: int
    emaid: str
    chain_pem: str = ""
    locally_valid: bool | None = None
    """What the charger's own validation of the chain says, None when it could not (no root)."""


class StopButton(Fact, frozen=True, kw_only=True):
    """The driver wants to end without identifying himself (E07)."""

    evse_id: int


class Power(Fact, frozen=True, kw_only=True):
    """How energy flows; `EVConnected` for not at all, once it was stopped."""

    evse_id: int
    state: PowerState
    phases: int | None = None


class Signature(Fact, frozen=True, kw_only=True):
    """The meter gives signed readings, or no longer."""

    evse_id: int
    available: bool


class Fault(Fact, frozen=True, kw_only=True):
    """A fault of the hardware begins or ends. EVSE 0 is the whole station; a connector of None the whole EVSE."""

    evse_id: int = 0
    connector_id: int | None = None
    word: str
    active: bool
    stops: bool = True
    component: str = "Connector"
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


class AllowPower(Command, frozen=True, kw_only=True):
    """Energy may flow, or must not."""

    evse_id: int
    allowed: bool


class Lock(Command, frozen=True, kw_only=True):
    """Lock a connector, or unlock it; `Unlocked` or `LockFailure` follows an unlocking."""

    evse_id: int
    connector_id: int
    locked: bool


class Restart(Command, frozen=True, kw_only=True):
    """Restart the station, or one EVSE. Where the charger leads its transactions, `at_once` ends them before, and with
    `keep` they wait for their vehicles afterwards (B13)."""

    evse_id: int | None
    at_once: bool = True
    keep: bool = False


class Indicate(Command, frozen=True, kw_only=True):
    """Show a driver what became of his wish."""

    evse_id: int | None
    word: str
    text: str = ""


# -- state


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """Who may charge, and how that was found out."""

    id_token: IdToken
    group: str | None = None
    remote_start_id: int | None = None
    reservation_id: int | None = None
    source: Literal["csms", "cache", "list", "offline", "remote", "terminal", "none"] = "csms"
    evse_ids: tuple[int, ...] = ()
    language: str | None = None
    """What the driver reads best (RFC 5646), as far as the CSMS knows."""
    message: str = ""
    """What the CSMS wants him to read, such as what he will pay (I01)."""

    limit: TransactionLimit | None = None
    """What the transaction must not exceed because of how it is paid for (C18.FR.06, C25.FR.04 to .06)."""


class Connector(msgspec.Struct, kw_only=True):
    """One connector."""

    number: int
    fixed_cable: bool
    station_end: bool = False
    vehicle_end: bool = False
    faults: set[str] = msgspec.field(default_factory=set)
    locked: bool = False

    @property
    def connected(self) -> bool:
        """Whether a vehicle hangs on it."""
        return self.vehicle_end and (self.fixed_cable or self.station_end)

    @property
    def occupied(self) -> bool:
        """Whether nobody else can use it."""
        return self.vehicle_end if self.fixed_cable else self.station_end


class Evse(msgspec.Struct, kw_only=True):
    """One EVSE and who uses it."""

    number: int
    connectors: list[Connector]
    bay: bool = False
    authorization: Authorization | None = None
    owner: IdToken | None = None
    """Who was authorized last, and may have his cable back."""

    power: PowerState = "EVConnected"
    evccid: str = ""
    """Who the vehicle says it is (ISO 15118)."""

    asleep: bool = False
    """Whether its electronics are turned off (Q10)."""

    profile_w: float | None = None
    """The power that charging profiles wish for, W; discharging is negative."""

    local_w: dict[OperationMode, float] = msgspec.field(default_factory=dict)
    """Set points of local control, W, by its operation mode."""

    signed: bool = False
    phases: int | None = None
    record: TransactionRecord | None = None
    reason: Reason | None = None
    """Why the transaction will have ended, once it does."""

    begun: bool = False
    """Whether the first reading was told."""

    token_reported: bool = False
    limit_mwh: int | None = None
    """Import register at which energy stops because the identifier is no longer valid (MaxEnergyOnInvalidId)."""

    ended_values: list[MeterValue] = msgspec.field(default_factory=list)
    resuming: bool = False
    """Whether its transaction waits to be resumed; what the hardware tells of power then is of no account."""

    faults: set[str] = msgspec.field(default_factory=set)
    asking: IdToken | None = None
    last_state: ChargingState | None = None

    def connector(self, number: int) -> Connector | None:
        """Return a connector by its number."""
        return next((each for each in self.connectors if each.number == number), None)

    @property
    def plugged(self) -> Connector | None:
        """The connector on which a vehicle hangs."""
        return next((each for each in self.connectors if each.connected), None)

    @property
    def free(self) -> bool:
        """Whether nobody uses it."""
        return self.record is None and self.authorization is None and not any(c.occupied for c in self.connectors)

    @property
    def setpoint_w(self) -> float | None:
        """The power that is wished for, W: by local control, else by charging profiles."""
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
        """Return the charging state as events tell it."""
        return self.power if self.plugged is not None else "Idle"
