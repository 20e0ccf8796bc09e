"""What is around a session when a request is answered, and what its handler answers.

A handler gets a request, the stage of the session (`secc.session.d20.stages`) and the context as it is now, and returns
a `Step`, or a `Wait` when the answer depends on a fact that has not come yet.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from secc.session.config import SeccConfig
from secc.session.d20.stages import Paused
from secc.session.ports import Device, Measured, MeterRead
from v2g.energy.limits import EffectiveLimits, GridResponse, Limit
from v2g.energy.tariff import Tariff
from v2g.errors import Iso15118Error
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization, EvCheckInStatus, EvCheckOutStatus
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.engine.session import Command, Entropy
from v2g.observe import Observe
from v2g.pki.crl import RevocationList
from v2g.pki.keys import SigningKey


class Trust(msgspec.Struct, frozen=True):
    """Whom the charger believes, and who it is: `key` and `chain` of its TLS leaf. DER, `chain` leaf first.

    `crosses` are cross certificates held here, over which chains may lead to the roots. `interop` also takes what -2
    era peers sign with: P-256 and SHA-256. A contract that `crls` name is refused before
    anybody else is asked.
    """

    v2g_roots: tuple[bytes, ...]
    mo_roots: tuple[bytes, ...]
    key: SigningKey
    chain: tuple[bytes, ...]
    interop: bool = False
    oem_roots: tuple[bytes, ...] = ()
    crosses: tuple[bytes, ...] = ()
    crls: tuple[RevocationList, ...] = ()
    price_key: SigningKey | None = None
    """Key of the operator of contracts (eMSP) that vouches for price schedules; they are unsigned without one."""


class Identity(msgspec.Struct, frozen=True):
    """Names that stand in the books. `meter_certificate` is the meter's certificate (DER)."""

    station_id: str
    meter_serial: str
    meter_certificate: bytes


class Notice(msgspec.Struct, frozen=True):
    """What the vehicle is to be told by EVSEStatus, by the wire name; `until` is when it must have obeyed."""

    notification: str
    until: float
    ahead_until: float = 0.0
    """Until then it goes ahead of the request for a pause."""


class Parking(msgspec.Struct, frozen=True):
    """How far the vehicle has come in and out of its space; None where it has not said."""

    check_in: EvCheckInStatus | None = None
    check_out: EvCheckOutStatus | None = None


class RequestContext(msgspec.Struct, frozen=True):
    """Everything outside the session, as it is at this moment."""

    config: SeccConfig
    family: Family
    """The set of messages that is spoken."""
    trust: Trust
    identity: Identity
    now: float
    utc_ms: int
    entropy: Entropy
    header: MessageHeader
    station: EffectiveLimits
    """What charger, site and operator allow together; the vehicle is in the stage."""
    limits: tuple[Limit, ...]
    """Of what that was made, and what is known of later times."""
    setpoint_w: int | None
    signed_w: int
    """W of discharge that the vehicle has signed for at this moment."""
    tariff: Tariff | None
    measured: Measured
    device: Device
    pilot: PilotState | None
    meter: MeterRead | None
    meter_begin: tuple[int, int]
    """The registers (mWh import, export) when the session began."""
    notice: Notice | None
    paused: Paused | None
    """What is kept of a paused session, if there is one."""
    vehicle_certificate: bytes
    """The leaf (DER) that the vehicle showed in TLS; empty without TLS."""
    tls: bool
    """Whether the connection is TLS, without which there is neither Plug & Charge nor contracts to fetch."""
    parking: Parking
    powered: bool
    """Whether voltage may be at the output."""
    books_open: bool
    """Whether the journal of this session has begun."""
    stopping: bool
    """Whether somebody wants the session to end: no power any more, and nothing but the end is taken."""
    ready: bool
    """Whether the vehicle is ready for energy, as one at a connection device says beside the main stream."""
    waited: bool
    """Whether the request must be answered now; a handler may `Wait` only while this is False."""
    exi: bytes
    """The request as it was received."""
    can_install: bool
    """Whether there is a back end now that knows of contracts."""
    can_plan: bool
    """Whether there is a back end that is told what vehicles need, and answers."""
    allowed: frozenset[int] | None = None
    """Ids of the energy services that the back end allows; None: it has not said anything."""
    told_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    """What the back end has told of prices with a charging profile."""
    response: GridResponse = GridResponse()
    """What the grid's frequency and voltage want."""

    @property
    def authorization(self) -> tuple[Authorization, ...]:
        """The ways to identify that are offered on this connection."""
        return tuple(each for each in self.config.authorization if self.tls or each is Authorization.EIM)


class Step(msgspec.Struct, frozen=True):
    """A handled request: commands are carried out before the response leaves.

    `heard` is the wire name of a notification that the vehicle has followed by this request. `exi` is the response
    as somebody else has encoded it, and leaves like that.
    """

    response: Any
    stage: Any
    commands: tuple[Command | Observe, ...] = ()
    heard: str = ""
    exi: bytes = b""
    parking: Parking | None = None
    ready: bool | None = None


class Wait(msgspec.Struct, frozen=True):
    """The answer has to wait for a fact, at most so many seconds; the handler is asked again then."""

    stage: Any
    seconds: float
    commands: tuple[Command | Observe, ...] = ()


Handler = Callable[[Any, Any, RequestContext], Step | Wait]


def refuse(code: ResponseCode, why: str, *, reason: str = "") -> Iso15118Error:
    """Return the error that answers the request with `code` and ends the session, by `reason` or else by the code."""
    return Iso15118Error(why, answer=code.name, reason=reason)
