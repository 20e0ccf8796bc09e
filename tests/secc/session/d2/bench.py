"""An ISO 15118-2 session of a charge point on a bench, and a vehicle by the book."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from secc.session.d2.session import Iso2Session
from tests.secc.session.message_bench import MessageBench
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schedules import VALUES
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.xmldsig import X509IssuerSerial

CONFIG = SeccConfig(authorization=(Authorization.EIM,), services=(EnergyService.DC, EnergyService.AC))
REQUESTS: Mapping[str, Any] = {name: each for name, each in common.ELEMENTS.items() if name.endswith("Req")} | {
    "SupportedAppProtocolReq": app.SupportedAppProtocolReq
}

OPENING = (
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "ServiceDiscoveryReq",
    "PaymentServiceSelectionReq",
    "AuthorizationReq",
    "ChargeParameterDiscoveryReq",
)
DC_WAY = (*OPENING, "CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq")
AC_WAY = (*OPENING, "PowerDeliveryReq", "ChargingStatusReq")
_COMMON: Mapping[State, tuple[str, ...]] = {
    State.SUPPORTED_APP_PROTOCOL: (),
    State.SESSION_SETUP: OPENING[:1],
    State.SERVICE_DISCOVERY: OPENING[:2],
    State.SERVICE_SELECTION: OPENING[:3],
    State.AUTHORIZATION: OPENING[:4],
    State.CHARGE_PARAMETER_DISCOVERY: OPENING[:5],
}
DC_WAYS: Mapping[State, tuple[str, ...]] = {
    **_COMMON,
    State.DC_CABLE_CHECK: DC_WAY[:6],
    State.DC_PRE_CHARGE: DC_WAY[:7],
    State.DC_PRE_CHARGE_ONGOING: DC_WAY[:8],
    State.DC_CHARGE_LOOP: DC_WAY,
    State.SCHEDULE_RENEGOTIATION: (*DC_WAY, "renegotiate"),
    State.DC_WELDING_DETECTION: (*DC_WAY, "stop"),
    State.ENDED: (*DC_WAY, "stop", "SessionStopReq"),
}
AC_WAYS: Mapping[State, tuple[str, ...]] = {
    **_COMMON,
    State.POWER_DELIVERY: AC_WAY[:6],
    State.AC_CHARGE_LOOP: AC_WAY,
    State.SCHEDULE_RENEGOTIATION: (*AC_WAY, "renegotiate"),
    State.POWER_DELIVERY_RENEGOTIATED: (*AC_WAY, "renegotiate", "ChargeParameterDiscoveryReq"),
    State.SESSION_STOP: (*AC_WAY, "stop"),
    State.ENDED: (*AC_WAY, "stop", "SessionStopReq"),
}


def volts(value: float) -> types.PhysicalValue:
    return VALUES.voltage(round(value * 1000), Rounding.NEAREST)


def amperes(value: float) -> types.PhysicalValue:
    return VALUES.current(round(value * 1000), Rounding.NEAREST)


def watts(value: int) -> types.PhysicalValue:
    return VALUES.power(value, Rounding.NEAREST)


class Iso2Bench(MessageBench):
    """One session, its shell and its vehicle: of direct current, unless `alternating`."""

    kind = Iso2Session
    schema = ISO2
    requests = REQUESTS
    types = types
    values = VALUES

    def __init__(
        self, pki: PkiTree, utc_ms: int, config: SeccConfig = CONFIG, *, alternating: bool = False, **options: Any
    ) -> None:
        self.alternating = alternating
        super().__init__(pki, utc_ms, config, **options)

    @property
    def ways(self) -> Mapping[State, tuple[str, ...]]:
        return AC_WAYS if self.alternating else DC_WAYS

    def wrapped(self, session_id: bytes, body: Any) -> V2G_Message:
        return V2G_Message(header=MessageHeader(session_id=session_id), body=Body(body_element=body))

    def stop(self) -> Any:
        return self.progress("Stop")

    def progress(self, name: str) -> Any:
        """Send a PowerDeliveryReq and return the response."""
        return self.send(self.ask("PowerDeliveryReq", charge_progress=types.ChargeProgress[name]))

    def go(self, *names: str) -> Any:
        response = None
        for name in names:
            response = self.progress("Renegotiate") if name == "renegotiate" else super().go(name)
        return response

    # -- requests by the book -----------------------------------------------------------------------------------

    def _PaymentServiceSelectionReq(self) -> dict[str, Any]:
        return {"selected_payment_option": types.PaymentOption.ExternalPayment, "selected_service_list": selected(1)}

    def _ChargeParameterDiscoveryReq(self) -> dict[str, Any]:
        kind = types.EnergyTransferMode
        mode = kind.AC_three_phase_core if self.alternating else kind.DC_extended
        return {
            "requested_energy_transfer_mode": mode,
            "ev_charge_parameter": self.ac_parameters() if self.alternating else self.parameters(),
        }

    def ac_parameters(self, **changes: Any) -> types.AC_EVChargeParameter:
        known = types.AC_EVChargeParameter(
            departure_time=7200,
            e_amount=VALUES.energy(20_000, Rounding.DOWN),
            ev_max_voltage=volts(400),
            ev_max_current=amperes(16),
            ev_min_current=amperes(6),
        )
        return msgspec.structs.replace(known, **changes)

    def parameters(self, **changes: Any) -> Any:
        return super().parameters(**{"departure_time": 7200, **changes})

    def _PowerDeliveryReq(self) -> dict[str, Any]:
        return {
            "charge_progress": types.ChargeProgress.Start,
            "sa_schedule_tuple_id": 1,
            "ev_power_delivery_parameter": None if self.alternating else self._delivery(),
        }

    def _SessionStopReq(self) -> dict[str, Any]:
        return {"charging_session": types.ChargingSession.Terminate}

    # those of contracts

    def _PaymentDetailsReq(self) -> dict[str, Any]:
        return {"emaid": "DEV2GC00000001", "contract_signature_cert_chain": types.CertificateChain(certificate=b"\0")}

    def _CertificateInstallationReq(self) -> dict[str, Any]:
        return {"oem_provisioning_cert": b"\0", "list_of_root_certificate_ids": roots(), "id": "id1"}

    def _CertificateUpdateReq(self) -> dict[str, Any]:
        return {**self._PaymentDetailsReq(), "list_of_root_certificate_ids": roots(), "id": "id1"}

    def _MeteringReceiptReq(self) -> dict[str, Any]:
        return {"session_id": b"\0", "meter_info": types.MeterInfo(meter_id="M")}


def roots() -> types.ListOfRootCertificateIDs:
    root = X509IssuerSerial(x509_issuer_name="CN=root", x509_serial_number=1)
    return types.ListOfRootCertificateIDs(root_certificate_id=(root,))


def selected(*services: int) -> types.SelectedServiceList:
    return types.SelectedServiceList(
        selected_service=tuple(types.SelectedService(service_id=each) for each in services)
    )
