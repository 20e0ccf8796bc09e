"""The DIN 70121 sequence chart as data: which request may follow which exchange.

Direct current and external payment only, without renegotiation and pause. The chart is independent of the role, like
those of `v2g.iso15118.d20.charts`. Requirements on the order are, in that of a session, [V2G-DC-437], -439, -441, -444,
-453, -455, -458, -459, -462, -465 and -469, those on stops -494 to -499; public sources do not say which row is whose.

`STRICT` is the specification; `CHART`, which devices use, adds where a vehicle may stop (`engine.early_stop`).
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from v2g.exi.declare import Element, Schema
from v2g.iso15118.din.messages.base import BodyElement
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.messages.message import Body, V2G_Message
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.sequence import Asks, Chart, Edge, Edges, Says, State, with_early_stops
from v2g.iso15118.engine.v2g_message import MessageSession
from v2g.iso15118.engine.xmldsig import Signature


def _go(to: State, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Edge:
    return Edge(to, asks, says)


def _poll(stay: State, done: State) -> Edges:
    """Return the edges of an exchange that is repeated until the charger has finished."""
    return (_go(stay, says=Says.ONGOING), _go(done, says=Says.FINISHED))


_STOP: Final[Mapping[str, Edges]] = {"SessionStopReq": (_go(State.ENDED),)}
_PRE_CHARGE: Final[Mapping[str, Edges]] = {"PreChargeReq": (_go(State.DC_PRE_CHARGE_ONGOING),)}
_AFTER: Final = State.DC_WELDING_DETECTION

STRICT: Final[Chart] = {
    State.SUPPORTED_APP_PROTOCOL: {"SupportedAppProtocolReq": (_go(State.SESSION_SETUP, says=Says.NEGOTIATED),)},
    # chargers in the field answer a plain OK, too
    State.SESSION_SETUP: {"SessionSetupReq": (_go(State.SERVICE_DISCOVERY),)},
    State.SERVICE_DISCOVERY: {"ServiceDiscoveryReq": (_go(State.SERVICE_SELECTION),)},
    State.SERVICE_SELECTION: {"ServicePaymentSelectionReq": (_go(State.AUTHORIZATION),)},
    State.AUTHORIZATION: {"ContractAuthenticationReq": _poll(State.AUTHORIZATION, State.CHARGE_PARAMETER_DISCOVERY)},
    State.CHARGE_PARAMETER_DISCOVERY: {
        "ChargeParameterDiscoveryReq": _poll(State.CHARGE_PARAMETER_DISCOVERY, State.DC_CABLE_CHECK)
    },
    State.DC_CABLE_CHECK: {"CableCheckReq": _poll(State.DC_CABLE_CHECK, State.DC_PRE_CHARGE)},
    State.DC_PRE_CHARGE: _PRE_CHARGE,
    State.DC_PRE_CHARGE_ONGOING: {
        **_PRE_CHARGE,
        "PowerDeliveryReq": (_go(State.DC_CHARGE_LOOP, Asks.READY), _go(_AFTER, Asks.NOT_READY)),
    },
    State.DC_CHARGE_LOOP: {
        "CurrentDemandReq": (_go(State.DC_CHARGE_LOOP),),
        "PowerDeliveryReq": (_go(_AFTER, Asks.NOT_READY),),
    },
    State.DC_WELDING_DETECTION: {"WeldingDetectionReq": (_go(_AFTER),), **_STOP},
    State.ENDED: {},
}
"""State -> name of the request -> edges, in the order in which they are tried."""

CHART: Final[Chart] = with_early_stops(STRICT, session=_STOP["SessionStopReq"], power=(_go(_AFTER, Asks.NOT_READY),))
"""The same with early stops: what charger and vehicle use."""

REQUESTS: Final = frozenset(name for ways in CHART.values() for name in ways)
"""Every request in the chart, by class name."""

ENERGY: Final = frozenset({State.DC_CHARGE_LOOP})
"""States in which power may flow."""


class SessionDin(MessageSession):
    """Direct current with external payment over plain TCP; headers carry the SessionID only."""

    schema: ClassVar[Schema] = DIN

    @property
    def chart(self) -> Chart:
        """The sequence chart."""
        return CHART

    def _wrapped(self, body: Element, signature: Signature | None) -> V2G_Message:
        assert isinstance(body, BodyElement), f"{type(body).__name__} is no body"
        assert signature is None, "DIN 70121 signs nothing"
        return V2G_Message(header=MessageHeader(session_id=self.session_id), body=Body(body_element=body))
