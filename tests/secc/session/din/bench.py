"""A DIN 70121 session of a charge point on a bench, and a vehicle by the book."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import EnergyService, SeccConfig
from secc.session.din.session import DinSession
from secc.session.identity import Identity, Trust
from tests.charger_session import charger_session
from tests.secc.session.shell import Shell, counter
from tests.trees import known
from v2g import exi
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.din.messages import charging, common
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages import parameters as limits
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.messages.message import Body, V2G_Message
from v2g.iso15118.din.quantities import VALUES
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame

CONFIG = SeccConfig(authorization=(Authorization.EIM,), services=(EnergyService.DC,))
REQUESTS: Mapping[str, Any] = {
    name: each for name, each in {**common.ELEMENTS, **charging.ELEMENTS}.items() if name.endswith("Req")
} | {"SupportedAppProtocolReq": app.SupportedAppProtocolReq}

WAY = (
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "ServiceDiscoveryReq",
    "ServicePaymentSelectionReq",
    "ContractAuthenticationReq",
    "ChargeParameterDiscoveryReq",
    "CableCheckReq",
    "PreChargeReq",
    "PowerDeliveryReq",
    "CurrentDemandReq",
    "stop",
    "SessionStopReq",
)
WAYS: Mapping[State, tuple[str, ...]] = {
    State.SUPPORTED_APP_PROTOCOL: (),
    State.SESSION_SETUP: WAY[:1],
    State.SERVICE_DISCOVERY: WAY[:2],
    State.SERVICE_SELECTION: WAY[:3],
    State.AUTHORIZATION: WAY[:4],
    State.CHARGE_PARAMETER_DISCOVERY: WAY[:5],
    State.DC_CABLE_CHECK: WAY[:6],
    State.DC_PRE_CHARGE: WAY[:7],
    State.DC_PRE_CHARGE_ONGOING: WAY[:8],
    State.DC_CHARGE_LOOP: WAY[:10],
    State.DC_WELDING_DETECTION: WAY[:11],
    State.ENDED: WAY,
}
"""How to get to each state."""


def volts(value: float) -> types.PhysicalValue:
    return VALUES.voltage(round(value * 1000), Rounding.NEAREST)


def amperes(value: float) -> types.PhysicalValue:
    return VALUES.current(round(value * 1000), Rounding.NEAREST)


def watts(value: int) -> types.PhysicalValue:
    return VALUES.power(value, Rounding.NEAREST)


class DinBench(Shell):
    """One session, its shell and its vehicle."""

    def __init__(self, pki: PkiTree, utc_ms: int, config: SeccConfig = CONFIG, **options: Any) -> None:
        super().__init__(utc_ms)
        pki = known(pki)
        self.config = config
        settings: dict[str, Any] = {
            "limits": (
                Limit(source=SITE, charge_w=40_000, discharge_w=0),
                Limit(source=OPERATOR, charge_w=40_000, discharge_w=0, version=1),
            ),
            "entropy": counter(),
            "meter": ports.MeterRead(utc_ms, 5_000_000, 2_000_000, "METER-0001"),
            "tls": False,
        }
        self.session = charger_session(
            config,
            trust=Trust(pki.anchors("v2g"), pki.anchors("mo"), pki.key("secc"), pki.chain("secc")),
            identity=Identity("CS-1", "METER-0001", pki.chain("meter")[0]),
            kind=DinSession,
            **{**settings, **options},
        )
        self.headers: list[MessageHeader] = []
        self.soc, self.error = 40, "NO_ERROR"
        self.start()

    def _take(self, data: bytes) -> None:
        for each in self.framer.feed(data):
            handshake = not self.responses
            message, _ = decode_message(each.payload, DIN, handshake=handshake)
            self.responses.append(body_of(message))
            if isinstance(message, V2G_Message):
                self.headers.append(message.header)

    def send(self, request: Any, session_id: bytes | None = None) -> Any:
        """Send a request and return the response, None if there was none."""
        count = len(self.responses)
        self.post(request, session_id)
        return self.responses[-1] if len(self.responses) > count else None

    def post(self, request: Any, session_id: bytes | None = None) -> None:
        message = request
        if not isinstance(request, app.SupportedAppProtocolReq):
            known_id = self.session.session_id if self.headers else b"\0"
            header = MessageHeader(session_id=known_id if session_id is None else session_id)
            message = V2G_Message(header=header, body=Body(body_element=request))
        self.raw(frame(PayloadType.SAP, exi.encode(message)))

    def ask(self, name: str, **changes: Any) -> Any:
        """Return a request that fits the session so far."""
        return REQUESTS[name](**{**getattr(self, f"_{name}", dict)(), **changes})

    def go(self, *names: str) -> Any:
        """Send requests by the book and return the last response."""
        response = None
        for name in names:
            response = self.stop() if name == "stop" else self.send(self.ask(name))
        return response

    def stop(self) -> Any:
        return self.send(self.ask("PowerDeliveryReq", ready_to_charge_state=False))

    def reach(self, state: State) -> "DinBench":
        """Drive a fresh session to a state by the shortest way."""
        self.go(*WAYS[state])
        assert self.session.state is state, (self.session.state, self.reason, self.events("request_failed"))
        return self

    def quirks(self) -> list[str]:
        return [str(each["quirk"]) for each in self.events("quirk_tolerated")]

    # -- requests by the book -----------------------------------------------------------------------------------

    def status(self) -> limits.DC_EVStatus:
        return limits.DC_EVStatus(ev_ready=True, ev_error_code=limits.DC_EVErrorCode(self.error), ev_ress_soc=self.soc)

    def _SupportedAppProtocolReq(self) -> dict[str, Any]:
        return {"app_protocol": (protocol(),)}

    def _SessionSetupReq(self) -> dict[str, Any]:
        return {"evcc_id": b"\x04ee\x00d\xc3"}

    def _ServicePaymentSelectionReq(self) -> dict[str, Any]:
        return {
            "selected_payment_option": types.PaymentOption.ExternalPayment,
            "selected_service_list": selected(1),
        }

    def _ChargeParameterDiscoveryReq(self) -> dict[str, Any]:
        return {
            "ev_requested_energy_transfer_type": types.EVRequestedEnergyTransferType.DC_extended,
            "ev_charge_parameter": self.parameters(),
        }

    def parameters(self, **changes: Any) -> limits.DC_EVChargeParameter:
        known = limits.DC_EVChargeParameter(
            dc_ev_status=self.status(),
            ev_maximum_current_limit=amperes(60),
            ev_maximum_power_limit=watts(20_000),
            ev_maximum_voltage_limit=volts(450),
            ev_energy_capacity=VALUES.energy(50_000, Rounding.DOWN),
            ev_energy_request=VALUES.energy(20_000, Rounding.DOWN),
            full_soc=100,
            bulk_soc=80,
        )
        return msgspec.structs.replace(known, **changes)

    def _CableCheckReq(self) -> dict[str, Any]:
        return {"dc_ev_status": self.status()}

    def _WeldingDetectionReq(self) -> dict[str, Any]:
        return {"dc_ev_status": self.status()}

    def _PreChargeReq(self) -> dict[str, Any]:
        return {"dc_ev_status": self.status(), "ev_target_voltage": volts(400), "ev_target_current": amperes(1)}

    def _PowerDeliveryReq(self) -> dict[str, Any]:
        parameter = limits.DC_EVPowerDeliveryParameter(dc_ev_status=self.status(), charging_complete=False)
        return {"ready_to_charge_state": True, "ev_power_delivery_parameter": parameter}

    def _CurrentDemandReq(self) -> dict[str, Any]:
        return {
            "dc_ev_status": self.status(),
            "ev_target_current": amperes(20),
            "ev_target_voltage": volts(420),
            "charging_complete": False,
        }

    # those that no session uses

    def _ServiceDetailReq(self) -> dict[str, Any]:
        return {"service_id": 1}

    def _PaymentDetailsReq(self) -> dict[str, Any]:
        return {"contract_id": "x", "contract_signature_cert_chain": types.CertificateChain(certificate=b"\0")}

    def _CertificateInstallationReq(self) -> dict[str, Any]:
        roots = types.ListOfRootCertificateIDs(root_certificate_id=("root",))
        return {"oem_provisioning_cert": b"\0", "list_of_root_certificate_ids": roots, "dh_params": b"\0"}

    def _CertificateUpdateReq(self) -> dict[str, Any]:
        roots = types.ListOfRootCertificateIDs(root_certificate_id=("root",))
        return {**self._PaymentDetailsReq(), "list_of_root_certificate_ids": roots, "dh_params": b"\0"}

    def _MeteringReceiptReq(self) -> dict[str, Any]:
        return {"session_id": b"\0", "meter_info": types.MeterInfo(meter_id="M")}


def selected(*services: int) -> types.SelectedServiceList:
    return types.SelectedServiceList(
        selected_service=tuple(types.SelectedService(service_id=each) for each in services)
    )


def protocol(namespace: str = DIN.uri, major: int = 2, minor: int = 0, schema: int = 1, rank: int = 1) -> Any:
    return app.AppProtocol(
        protocol_namespace=namespace,
        version_number_major=major,
        version_number_minor=minor,
        schema_id=schema,
        priority=rank,
    )
