"""A DIN 70121 session of a charge point on a bench, and a vehicle by the book."""

from collections.abc import Mapping
from typing import Any

from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from secc.session.din.session import DinSession
from tests.secc.session.message_bench import MessageBench
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.din.messages import common
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.messages.message import Body, V2G_Message
from v2g.iso15118.din.schedules import VALUES
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.sequence import State

CONFIG = SeccConfig(authorization=(Authorization.EIM,), services=(EnergyService.DC,))
REQUESTS: Mapping[str, Any] = {name: each for name, each in common.ELEMENTS.items() if name.endswith("Req")} | {
    "SupportedAppProtocolReq": app.SupportedAppProtocolReq
}

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


class DinBench(MessageBench):
    """One session, its shell and its vehicle."""

    kind = DinSession
    schema = DIN
    requests = REQUESTS
    types = types
    values = VALUES
    ways = WAYS

    def __init__(self, pki: PkiTree, utc_ms: int, config: SeccConfig = CONFIG, **options: Any) -> None:
        super().__init__(pki, utc_ms, config, **options)

    def wrapped(self, session_id: bytes, body: Any) -> V2G_Message:
        return V2G_Message(header=MessageHeader(session_id=session_id), body=Body(body_element=body))

    def stop(self) -> Any:
        return self.send(self.ask("PowerDeliveryReq", ready_to_charge_state=False))

    # -- requests by the book -----------------------------------------------------------------------------------

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

    def _PowerDeliveryReq(self) -> dict[str, Any]:
        return {"ready_to_charge_state": True, "ev_power_delivery_parameter": self._delivery()}

    # those that no session uses

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
