"""The vehicle's present state beside its stage: identity, selection and agreements."""

import enum
import math

import msgspec

from evcc.policy.planner import ChargePlan
from evcc.policy.policy import DischargeTerms, OwnerSettings
from evcc.session.context import Context, EvseLimits
from evcc.session.contracts import Contract, Provisioning
from evcc.session.paused import PausedChoice, Resume
from evcc.session.program import ProgramProgress
from v2g.energy.grid_support import GridSupport
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PowerSchedule, PriceLevelSchedule
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.iso15118.engine.xmldsig import Signature


class Agreement(enum.Enum):
    """State of signed discharge: not selected, selected without an offer yet, or our decision on the latest offer."""

    NONE = "none"
    WAITING = "waiting"
    DECLINED = "declined"
    AGREED = "agreed"


class RequestContext(Context, frozen=True):
    """The present state except the stage."""

    contract: Contract | None = None
    """The contract that pays, or would."""
    contracts: tuple[Contract, ...] = ()
    provisioning: Provisioning | None = None
    resume: Resume | None = None
    joined: bool = False
    """Whether this session is the one of `resume`, joined again."""
    progress: ProgramProgress | None = None
    """The latest one of the program, None before it begins."""
    reselected: float = -math.inf
    """When the vehicle last left a service for another one, s."""
    parked: bool = False
    """Whether the vehicle has checked in to a parking space and must check out."""
    beside: frozenset[PayloadType] = frozenset()
    """Side streams with a pending answer."""
    family: Family = Family.DC
    tls: bool = True
    """Whether the connection is TLS, a condition for sending and fetching contracts."""
    price_signers: tuple[bytes, ...] = ()
    """Certificates (DER) of permitted signers of price schedules, beside the CAs of our contracts."""
    agreement: Agreement = Agreement.NONE
    terms: DischargeTerms | None = None
    owner: OwnerSettings = OwnerSettings()

    @property
    def max_charge_w(self) -> int:
        """The vehicle's present maximum charging power: that of its battery, and with AC of its own charger."""
        most = self.battery.max_charge_w
        if self.family is Family.WPT:
            return min(most, self.config.wireless.max_power_w)
        return min(most, self.config.on_board_charger.max_charge_w) if self.family is Family.AC else most

    @property
    def max_discharge_w(self) -> int:
        """The vehicle's present maximum discharging power, regardless of its policy."""
        most = self.battery.max_discharge_w
        if self.family is Family.WPT:
            return 0
        return min(most, self.config.on_board_charger.max_discharge_w) if self.family is Family.AC else most

    @property
    def discharge_capability_w(self) -> int:
        """The possible discharge, W, regardless of the request."""
        config = self.config.discharge
        return min(config.max_power_w, self.max_discharge_w) if config.enabled else 0

    def with_contract(self, contract: Contract) -> "RequestContext":
        """Return the context with an additional contract."""
        return msgspec.structs.replace(self, contracts=(*self.contracts, contract))

    def header(self, signature: Signature | None = None) -> MessageHeader:
        """Return the header of a request sent now."""
        return MessageHeader(session_id=self.session_id, time_stamp=self.utc_ms // 1000, signature=signature)


class Schedule(msgspec.Struct, frozen=True):
    """The chosen tuple of Scheduled mode, agreed at `agreed_ms` (`session_ms`)."""

    tuple_id: int
    agreed_ms: int
    charge: PowerSchedule
    discharge: PowerSchedule | None = None
    plan: ChargePlan | None = None
    """The vehicle's plan, if the program plans by prices."""


class Outlook(msgspec.Struct, frozen=True):
    """Data for planning by prices until departure in Dynamic mode.

    `plan` was made at `made_ms` (`session_ms`) with `energy_wh` in the battery, from `basis`. `allowed_w` is the power
    to which the charger last limited the vehicle, None while it provides all that is requested; `probed` once the
    maximum has been requested. `asked_w` is the latest request.
    """

    prices: AbsolutePriceSchedule | None = None
    levels: PriceLevelSchedule | None = None
    plan: ChargePlan | None = None
    basis: tuple[object, ...] = ()
    made_ms: int = 0
    energy_wh: int = 0
    allowed_w: int | None = None
    probed: bool = False
    asked_w: int = 0


class Plan(msgspec.Struct, frozen=True):
    """Agreements before energy flows: in Scheduled mode the `schedule`, in Dynamic mode possibly an `outlook`."""

    choice: PausedChoice
    limits: EvseLimits
    schedule: Schedule | None = None
    outlook: Outlook | None = None
    support: GridSupport | None = None
    """What the inverter follows in AC DER, and the set-points of the loop."""
    dropped: tuple[str, ...] = ()
    """Set-points of the loop that are not followed, with the reason."""
    enabled: int = 0
    """EnabledModes of AC DER by SAE."""
    said: Element | None = None
    """Control mode of the latest loop response of AC DER by SAE; what it leaves out as said before."""
    grid: tuple[float, float] = (0.0, 0.0)
    """Nominal voltage (V) and frequency (Hz) of the grid there."""
