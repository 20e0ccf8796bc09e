"""What the vehicle knows at one moment beside its stage: who it is, what was selected, and what was settled."""

import enum
from typing import Any

import msgspec

from evcc.policy.plans import ChargePlan
from evcc.policy.policy import Terms
from evcc.session.ports import BatteryState, PresentVoltage
from evcc.session.program import Progress
from evcc.session.settings import SessionConfig
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PowerSchedule, PriceLevelSchedule
from v2g.iso15118.d20.services import ENERGY_TRANSFER, ServiceId
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.iso15118.engine.xmldsig import Signature
from v2g.pki.crl import RevocationList
from v2g.pki.keys import LeafKey, SigningKey


class Contract(msgspec.Struct, frozen=True):
    """The contract certificate with its sub-CAs (DER, leaf first, no root) and the key of the leaf."""

    chain: tuple[bytes, ...]
    key: SigningKey


class Provisioning(msgspec.Struct, frozen=True, kw_only=True):
    """Who the vehicle is when it asks for contracts: its provisioning chain (DER, leaf first), key and PCID.

    A provisioning service is believed under `v2g_roots`; a contract has to lead to one of `mo_roots` (or V2G roots)
    where the vehicle knows any; both perhaps over `crosses`, and neither when `crls` say it is revoked. `rules` are
    those of the envelope.
    """

    chain: tuple[bytes, ...]
    key: LeafKey
    pcid: str
    v2g_roots: tuple[bytes, ...]
    mo_roots: tuple[bytes, ...] = ()
    crosses: tuple[bytes, ...] = ()
    interop: bool = False
    rules: EnvelopeRules = RULES
    crls: tuple[RevocationList, ...] = ()


class Agreement(enum.Enum):
    """Where signed discharge stands: not selected, selected without an offer yet, or what we said to the newest."""

    NONE = "none"
    WAITING = "waiting"
    DECLINED = "declined"
    AGREED = "agreed"


class Choice(msgspec.Struct, frozen=True):
    """The selected services. `signed_set` is the parameter set of the signed-discharge service, if taken."""

    service_id: int
    parameter_set_id: int
    bpt: bool
    dynamic: bool
    signed_set: int | None = None
    renegotiable: bool = False
    needs_by_secc: bool = False
    """Whether departure and states of charge are the charger's to say (MobilityNeedsMode 2)."""
    added: tuple[tuple[int, int], ...] = ()
    """Other value-added services with their parameter sets."""

    @property
    def parking(self) -> bool:
        """Whether the vehicle checks in and out of its space."""
        return any(service_id == ServiceId.PARKING_STATUS for service_id, _ in self.added)

    @property
    def family(self) -> Family:
        """The set of messages that the service is spoken in."""
        return ENERGY_TRANSFER[self.service_id].family


class Resume(msgspec.Struct, frozen=True):
    """What survives a pause: the session, what was selected in it, and which charger it belongs to.

    `charger` is SHA-512(SessionID || SHA-512(charger's leaf)), the worked example of V2G20-2539.
    """

    session_id: bytes
    choice: Choice
    charger: bytes
    progress: Progress | None = None
    """Where the vehicle's program goes on; None where it had not begun."""


class RequestContext(msgspec.Struct, frozen=True):
    """All that is known at one moment besides the stage."""

    config: SessionConfig
    now: float
    utc_ms: int
    state: State
    session_id: bytes
    battery: BatteryState
    inlet: PresentVoltage
    contactor_closed: bool
    departure_ms: int
    contract: Contract | None = None
    """The contract that pays, or would."""
    contracts: tuple[Contract, ...] = ()
    provisioning: Provisioning | None = None
    resume: Resume | None = None
    joined: bool = False
    """Whether this session is the one of `resume`, joined again."""
    fresh: bool = True
    """Whether battery and inlet have reported lately."""
    parked: bool = False
    """Whether the vehicle has checked in to a parking space, out of which it has to check."""
    beside: frozenset[PayloadType] = frozenset()
    """Side streams on which an answer is awaited."""
    family: Family = Family.DC
    tls: bool = True
    """Whether the connection is TLS, without which contracts are neither shown nor fetched."""
    price_signers: tuple[bytes, ...] = ()
    """Certificates (DER) of those who may sign price schedules, beside the CAs of our contracts."""
    agreement: Agreement = Agreement.NONE
    terms: Terms | None = None

    @property
    def max_charge_w(self) -> int:
        """What the vehicle can take now: its battery, and with alternating current its own charger."""
        most = self.battery.max_charge_w
        if self.family is Family.WPT:
            return min(most, self.config.wireless.max_power_w)
        return min(most, self.config.on_board_charger.max_charge_w) if self.family is Family.AC else most

    @property
    def max_discharge_w(self) -> int:
        """What the vehicle can give now, whether it wants to or not."""
        most = self.battery.max_discharge_w
        if self.family is Family.WPT:
            return 0
        return min(most, self.config.on_board_charger.max_discharge_w) if self.family is Family.AC else most

    def with_contract(self, contract: Contract) -> "RequestContext":
        """Return the context with one contract more."""
        return msgspec.structs.replace(self, contracts=(*self.contracts, contract))

    def header(self, signature: Signature | None = None) -> MessageHeader:
        """Return the header of a request sent at this moment."""
        return MessageHeader(session_id=self.session_id, time_stamp=self.utc_ms // 1000, signature=signature)


class EvseLimits(msgspec.Struct, frozen=True):
    """What the charger can do: W, mA and mV, never negative. Alternating current has powers only."""

    charge_w: int
    discharge_w: int
    charge_ma: int = 0
    discharge_ma: int = 0
    max_voltage_mv: int = 0
    min_voltage_mv: int = 0


class Schedule(msgspec.Struct, frozen=True):
    """The schedule tuple that was chosen in Scheduled mode; `since_ms` (UTC) is when its first entry begins."""

    tuple_id: int
    since_ms: int
    charge: PowerSchedule
    discharge: PowerSchedule | None = None
    plan: ChargePlan | None = None
    """What to do when, where the program plans by prices."""


class Outlook(msgspec.Struct, frozen=True):
    """What is known of the time until departure in Dynamic mode, where the vehicle plans by prices for itself.

    `plan` was made at `made_ms` (UTC) with `energy_wh` in the battery, of what `basis` holds. `allowed_w` is what the
    charger was last seen to hold the vehicle down to, None while it gives all that is asked for; not yet `probed`
    before it was asked for everything. `asked_w` is what it was asked for last.
    """

    prices: AbsolutePriceSchedule | None = None
    levels: PriceLevelSchedule | None = None
    plan: ChargePlan | None = None
    basis: tuple[Any, ...] = ()
    made_ms: int = 0
    energy_wh: int = 0
    allowed_w: int | None = None
    probed: bool = False
    asked_w: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What is settled before energy flows: in Scheduled mode the `schedule`, in Dynamic mode perhaps an `outlook`."""

    choice: Choice
    limits: EvseLimits
    schedule: Schedule | None = None
    outlook: Outlook | None = None
