"""The ISO 15118-2 sequence charts as data: which request may follow which exchange (clause 8.8).

One for alternating and one for direct current, alike up to ChargeParameterDiscovery. The charts are independent of the
role: charger, vehicle, conformance tool and the diagrams in the docs read the same tables by
`v2g.iso15118.engine.sequence`. A number [V2G2-n] beside a row is the requirement for what may follow that exchange,
as public implementations cite it.

`STRICT` is the standard; `CHARTS`, which devices use, adds where a vehicle may stop (`engine.early_stop`).
"""

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Final

from v2g.exi.declare import Element, Schema
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import BodyElement
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.sequence import Asks, Chart, Edge, Edges, Says, State, accepts, with_early_stops
from v2g.iso15118.engine.v2g_message import MessageSession
from v2g.iso15118.engine.xmldsig import Signature


class Family(Enum):
    """Sets of messages, selected by RequestedEnergyTransferMode."""

    AC = "AC"
    DC = "DC"


_States = dict[State, Mapping[str, Edges]]


def _go(to: State, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Edge:
    return Edge(to, asks, says)


def _poll(stay: State, done: State) -> Edges:
    """Return the edges of an exchange that is repeated until the charger has finished."""
    return (_go(stay, says=Says.ONGOING), _go(done, says=Says.FINISHED))


_STOP: Final[Mapping[str, Edges]] = {
    "SessionStopReq": (_go(State.ENDED, Asks.TERMINATE), _go(State.PAUSED, Asks.PAUSE))  # [V2G2-571], [V2G2-739]
}

_INSTALLATION: Final[Mapping[str, Edges]] = {
    "CertificateInstallationReq": (_go(State.CONTRACT_INSTALLED),),  # [V2G2-554]
    "CertificateUpdateReq": (_go(State.CONTRACT_INSTALLED),),  # [V2G2-557]
}

_PAYMENT_DETAILS: Final[Mapping[str, Edges]] = {"PaymentDetailsReq": (_go(State.AUTHORIZATION),)}  # [V2G2-560]


def _common() -> _States:
    """Return everything up to the charge parameters; a joined session runs through all of it again."""
    return {
        State.SUPPORTED_APP_PROTOCOL: {"SupportedAppProtocolReq": (_go(State.SESSION_SETUP, says=Says.NEGOTIATED),)},
        # new or joined [V2G2-463]; chargers in the field answer a plain OK, too
        State.SESSION_SETUP: {"SessionSetupReq": (_go(State.SERVICE_DISCOVERY),)},  # [V2G2-543]
        State.SERVICE_DISCOVERY: {"ServiceDiscoveryReq": (_go(State.SERVICE_SELECTION),)},  # [V2G2-545]
        State.SERVICE_SELECTION: {
            "ServiceDetailReq": (_go(State.SERVICE_SELECTION),),  # [V2G2-545]
            "PaymentServiceSelectionReq": (  # [V2G2-551]
                _go(State.PAYMENT_DETAILS, Asks.CONTRACT),
                _go(State.AUTHORIZATION, Asks.EXTERNAL_PAYMENT),
            ),
        },
        State.PAYMENT_DETAILS: {**_INSTALLATION, **_PAYMENT_DETAILS},
        State.CONTRACT_INSTALLED: _PAYMENT_DETAILS,
        State.AUTHORIZATION: {
            "AuthorizationReq": _poll(State.AUTHORIZATION, State.CHARGE_PARAMETER_DISCOVERY)  # [V2G2-687], [V2G2-573]
        },
        State.PAUSED: {},
        State.ENDED: {},
    }


def _parameters(here: State, planned: State) -> Mapping[str, Edges]:
    return {"ChargeParameterDiscoveryReq": _poll(here, planned)}  # [V2G2-688], [V2G2-565], [V2G2-582]


def _energy(loop: State, request: str, receipt: State, after: State) -> _States:
    """Return the charge loop and what interrupts it; `after` follows a stop."""
    charging: Edges = (_go(receipt, says=Says.RECEIPT_REQUIRED), _go(loop))  # [V2G2-575], [V2G2-577], [V2G2-795]
    delivery: Edges = (
        _go(after, Asks.STOP),
        _go(State.SCHEDULE_RENEGOTIATION, Asks.RENEGOTIATE),  # [V2G2-813]
    )
    return {
        loop: {request: charging, "PowerDeliveryReq": delivery},  # [V2G2-593]
        # a receipt that was asked for and does not come is for the charger's policy
        receipt: {
            "MeteringReceiptReq": (_go(loop),),  # [V2G2-580], [V2G2-797]
            request: charging,
            "PowerDeliveryReq": delivery,
        },
    }


def _ac() -> Chart:
    loop, after = State.AC_CHARGE_LOOP, State.SESSION_STOP  # [V2G2-568]
    return {
        **_common(),
        State.CHARGE_PARAMETER_DISCOVERY: _parameters(State.CHARGE_PARAMETER_DISCOVERY, State.POWER_DELIVERY),
        # Renegotiate without an earlier Start has no edge here [V2G2-812]
        State.POWER_DELIVERY: {"PowerDeliveryReq": (_go(loop, Asks.START), _go(after, Asks.STOP))},  # [V2G2-576]
        **_energy(loop, "ChargingStatusReq", State.AC_METERING_RECEIPT, after),
        # the contactor stays closed
        State.SCHEDULE_RENEGOTIATION: _parameters(State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED),
        State.POWER_DELIVERY_RENEGOTIATED: {"PowerDeliveryReq": (_go(loop, Asks.START),)},  # [V2G2-841], [V2G2-842]
        State.SESSION_STOP: _STOP,
    }


def _dc() -> Chart:
    loop, after = State.DC_CHARGE_LOOP, State.DC_WELDING_DETECTION
    pre_charge = (_go(State.DC_PRE_CHARGE_ONGOING),)
    return {
        **_common(),
        State.CHARGE_PARAMETER_DISCOVERY: _parameters(State.CHARGE_PARAMETER_DISCOVERY, State.DC_CABLE_CHECK),
        # [V2G2-621], [V2G2-584]
        State.DC_CABLE_CHECK: {"CableCheckReq": _poll(State.DC_CABLE_CHECK, State.DC_PRE_CHARGE)},
        State.DC_PRE_CHARGE: {"PreChargeReq": pre_charge},
        State.DC_PRE_CHARGE_ONGOING: {  # [V2G2-587]
            "PreChargeReq": pre_charge,
            "PowerDeliveryReq": (_go(loop, Asks.START), _go(after, Asks.STOP)),  # [V2G2-590]
        },
        **_energy(loop, "CurrentDemandReq", State.DC_METERING_RECEIPT, after),
        # cable check and pre-charge again [V2G2-582]
        State.SCHEDULE_RENEGOTIATION: _parameters(State.SCHEDULE_RENEGOTIATION, State.DC_CABLE_CHECK),
        State.DC_WELDING_DETECTION: {  # [V2G2-601]; no other parameters once welding is being detected [V2G2-597]
            "WeldingDetectionReq": (_go(after),),
            **_parameters(State.CHARGE_PARAMETER_DISCOVERY, State.DC_CABLE_CHECK),
            **_STOP,
        },
    }


STRICT: Final[Mapping[Family, Chart]] = {Family.AC: _ac(), Family.DC: _dc()}
"""Set of messages -> state -> name of the request -> edges, in the order in which they are tried."""


def _tolerant(chart: Chart, after: State) -> Chart:
    """Return a chart with early stops; only a pause after a stop of power can be joined again [V2G2-739]."""
    session = (_go(State.ENDED, Asks.TERMINATE), _go(State.ENDED, Asks.PAUSE))
    return {
        **with_early_stops(chart, session=session, power=(_go(after, Asks.STOP),)),
        after: {"PowerDeliveryReq": (_go(after, Asks.STOP),), **chart[after]},
    }


CHARTS: Final[Mapping[Family, Chart]] = {
    Family.AC: _tolerant(STRICT[Family.AC], State.SESSION_STOP),
    Family.DC: _tolerant(STRICT[Family.DC], State.DC_WELDING_DETECTION),
}
"""The same with early stops: what charger and vehicle use."""

REQUESTS: Final = frozenset(name for chart in CHARTS.values() for ways in chart.values() for name in ways)
"""Every request in a chart, by class name."""

LOOPS: Final = frozenset(
    {State.AC_CHARGE_LOOP, State.DC_CHARGE_LOOP, State.AC_METERING_RECEIPT, State.DC_METERING_RECEIPT}
)
"""The charge loops, also while a receipt is due."""

ENERGY: Final = LOOPS | {State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED}
"""States in which power may flow."""


def has_wrong_progress(state: State, request: Element, family: Family) -> bool:
    """Return whether a request that is out of order is a PowerDeliveryReq whose ChargeProgress does not fit.

    It is answered FAILED [V2G2-812]; everything else out of order FAILED_SequenceError [V2G2-459].
    """
    name = type(request).__name__
    return name == "PowerDeliveryReq" and name in STRICT[family][state] and not accepts(state, request, CHARTS[family])


class Session2(MessageSession):
    """`family` is by the selected energy transfer mode (DC before; the charts begin alike)."""

    schema: ClassVar[Schema] = ISO2
    family = Family.DC

    @property
    def chart(self) -> Chart:
        """The sequence chart of the selected family."""
        return CHARTS[self.family]

    def _wrapped(self, body: Element, signature: Signature | None) -> V2G_Message:
        assert isinstance(body, BodyElement), f"{type(body).__name__} is no body"
        header = MessageHeader(session_id=self.session_id, signature=signature)
        return V2G_Message(header=header, body=Body(body_element=body))
