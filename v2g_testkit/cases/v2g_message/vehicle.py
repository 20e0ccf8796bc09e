"""The reference vehicles of ISO 15118-2 and DIN 70121 in the test of a charger."""

from abc import abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar

from cryptography.x509 import Certificate
from msgspec.structs import replace

from v2g import exi
from v2g.errors import TrustError
from v2g.exi.declare import Element
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.charts import LOOPS, Session2
from v2g.iso15118.d2.charts import STRICT as STRICT_2
from v2g.iso15118.d2.charts import Family as Family2
from v2g.iso15118.d2.envelope import Envelope, unseal
from v2g.iso15118.d2.messages.common import CertificateInstallationRes, CertificateUpdateRes, PaymentDetailsRes
from v2g.iso15118.d2.signatures import sub_cas
from v2g.iso15118.d2.timing import CONTRACT_SERVICE
from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.charts import STRICT as STRICT_DIN
from v2g.iso15118.din.charts import SessionDin
from v2g.iso15118.din.timing import MESSAGES as MESSAGES_DIN
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.message_timing import SharedTiming
from v2g.iso15118.engine.sequence import Asks, Chart, Edge, Says, State
from v2g.iso15118.engine.session import Entropy
from v2g.iso15118.engine.v2g_message import Header, MessageSession
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.iso15118.engine.xmldsig import Signature
from v2g.iso15118.v2g_message import V2G_Message
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import PublicKey, SoftwareKey
from v2g.pki.profile import Generation, Role
from v2g.pki.verify import verify_chain
from v2g_testkit.cases.case import WRONG, Script
from v2g_testkit.cases.known import Kit, Payer
from v2g_testkit.cases.scripted_vehicle import DEAD_V, PRE_CHARGE_S, RENEGOTIATED, Exchange, ScriptedVehicle
from v2g_testkit.cases.secc_contents import CHALLENGED
from v2g_testkit.cases.secc_installation import DELIVERS, UNUSABLE
from v2g_testkit.cases.v2g_message.changes import CHANGES
from v2g_testkit.cases.v2g_message.checks import faults
from v2g_testkit.cases.v2g_message.requests import MessageKnown, MessageRequests, Requests2, RequestsDin

_STARTS = (Asks.START, Asks.READY)
_STOPS = (Asks.STOP, Asks.NOT_READY)
_PAYMENTS = {"EIM": "ExternalPayment", "PnC": "Contract"}
"""Method of authorization -> PaymentOption."""


class MessageVehicle(ScriptedVehicle, MessageSession):
    """Runs one script against a charger. `known` is the memory of earlier connections in the same case."""

    kind: ClassVar[type[MessageRequests]]
    ongoing_s = SharedTiming().evcc_ongoing
    loops = LOOPS

    def __init__(self, script: Script, kit: Kit, known: MessageKnown, *, entropy: Entropy) -> None:
        super().__init__(script, kit, known, entropy=entropy)
        self._known = known
        self._requests = self.kind(known, kit)
        self._signature: Signature | None = None
        """Of the latest response."""

    @property
    @abstractmethod
    def _chart(self) -> Chart:
        """The sequence chart without what vehicles in the field do beyond it."""

    def _receive_frame(self, payload_type: int, payload: bytes) -> None:
        self.seen.received(payload_type, payload)
        super()._receive_frame(payload_type, payload)

    def _on_body(self, body: Element, header: Header | None) -> None:
        self._signature = None if header is None else header.signature
        self._received(body, b"" if header is None else header.session_id)

    # -- requests -----------------------------------------------------------------------------------------------

    def _make(self, name: str, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Element:
        return self._requests.make(name, asks)

    def _changed(self, change: str, request: Element) -> Element:
        for each in change.split(" + "):
            request = CHANGES[each](request, self._requests)
        return request

    def _message(self, request: Element) -> Element:
        """Return a request as it is sent."""
        if isinstance(request, SupportedAppProtocolReq):
            return request
        made = self._requests
        message = self._wrapped(request, made.signature(request))
        if made.header_id is not None and isinstance(message, V2G_Message):
            message = replace(message, header=replace(message.header, session_id=made.header_id))
            made.header_id = None
        return message

    def _say(self, request: Element) -> None:
        self._send(self._message(request))

    def _framed(self, request: Element) -> bytes:
        return frame(PayloadType.SAP, exi.encode(self._message(request)))

    def _prepare(self, name: str) -> str:
        known = self._known
        if name == "ChargeParameterDiscoveryReq" and known.discovered and known.mode is None:
            return f"no energy transfer mode of {known.family.value} is offered"
        return ""

    # -- on the way ---------------------------------------------------------------------------------------------

    def _faults(self, request: Element, message: Element) -> list[str]:
        self._requests.utc_s = self._time.utc_ms // 1000
        return faults(request, message, self._requests)

    def _learn(self, request: Element, message: Element) -> None:
        self._known.hear(message)
        if type(message).__name__ == "ServiceDiscoveryRes":
            # take the script's method of payment, if the charger offers it
            offered, (pay, _, contract) = self._known.payments, self._script.pay.partition(" ")
            pay = pay or self._kit.pay or ("EIM" if "ExternalPayment" in offered else "PnC")
            if self._script.installs:
                self._requests.beside = (CONTRACT_SERVICE,)
            if set(self._requests.beside) - set(self._known.added):
                self._not_here("the charger does not offer to install contracts")
            elif _PAYMENTS[pay] not in offered:
                self._not_here(f"the charger does not offer {_PAYMENTS[pay]}")
            elif pay == "PnC":
                self._requests.payer = self._kit.contracts.get(contract or "good")
                if self._requests.payer is None:
                    self._not_here(f"no contract {contract or 'good'!r} given")
        info = getattr(message, "meter_info", None)
        if info is not None and "sends MeterInfo" not in self.seen.facts:
            self.seen.facts.append("sends MeterInfo")
            self.seen.facts += ["sends MeterReading"] if getattr(info, "meter_reading", None) is not None else []

    def _usual(self, state: State, name: str, edge: Edge, goal: State) -> bool:
        if name == "SessionStopReq":
            return edge.to is goal
        if name in ("CertificateUpdateReq", "MeteringReceiptReq"):
            return False
        if edge.asks in (Asks.CONTRACT, Asks.EXTERNAL_PAYMENT):
            contract = goal is State.PAYMENT_DETAILS or self._requests.payer is not None
            return (edge.asks is Asks.CONTRACT) is contract
        if name == "PowerDeliveryReq":
            if edge.asks in _STOPS:
                return state in self.loops
            return edge.asks in _STARTS or goal in RENEGOTIATED
        return True

    def _stops_power(self, request: Any) -> bool:
        if type(request).__name__ != "PowerDeliveryReq":
            return False
        progress = getattr(request, "charge_progress", None)
        return progress.name == "Stop" if progress is not None else not request.ready_to_charge_state

    def _asks_to_stop(self, message: Element) -> bool:
        names = ("dc_evse_status", "ac_evse_status", "evse_status")
        status = next((found for name in names if (found := getattr(message, name, None)) is not None), None)
        return status is not None and status.evse_notification.name == "StopCharging"

    def _charging(self, name: str, asks: Asks) -> bool:
        return name == "CableCheckReq" or (name == "PowerDeliveryReq" and asks in (*_STARTS, Asks.ANYTHING))

    def _unfinished(self, message: Element) -> bool:
        name = type(message).__name__
        waits = name == "PreChargeRes" and not self._voltage_there and not self._kit.without_power
        live = name == "WeldingDetectionRes" and self._known.voltage > DEAD_V
        return waits or live or super()._unfinished(message)

    def _probes_in_c(self, request: Element) -> bool:
        name = type(request).__name__
        return self._charging(name, Asks.ANYTHING) and not self._stops_power(request)

    def _closes_contactor(self, name: str, asks: Asks, says: Says) -> bool:
        return name == "PowerDeliveryReq" and asks in _STARTS and self.state is State.DC_PRE_CHARGE_ONGOING

    def _repeated(self) -> Exchange | None:
        waits = self.state is State.DC_PRE_CHARGE_ONGOING and not self._voltage_there
        if waits and self._time.now - self._since < PRE_CHARGE_S and not self._kit.without_power:
            return "PreChargeReq", Asks.ANYTHING, Says.ANYTHING
        return super()._repeated()

    def _loop_hop(self) -> Exchange:
        name = "ChargingStatusReq" if self._known.family is Family.AC else "CurrentDemandReq"
        return name, Asks.ANYTHING, Says.ANYTHING

    def _is_of_loop(self, name: str) -> bool:
        return name in ("ChargingStatusRes", "CurrentDemandRes")


class Vehicle2(MessageVehicle, Session2):
    """A vehicle of ISO 15118-2."""

    kind = Requests2
    messages = MESSAGES_2

    def __init__(self, script: Script, kit: Kit, known: MessageKnown, *, entropy: Entropy) -> None:
        super().__init__(script, kit, known, entropy=entropy)
        self.family = Family2(known.family.value)

    @property
    def _chart(self) -> Chart:
        return STRICT_2[self.family]

    def _learn(self, request: Element, message: Element) -> None:
        super()._learn(request, message)
        if isinstance(message, PaymentDetailsRes):
            if message.gen_challenge in self._known.earlier_challenges:
                self.seen.facts.append(CHALLENGED)
            self._known.earlier_challenges.append(message.gen_challenge)
        if isinstance(message, CertificateInstallationRes | CertificateUpdateRes):
            # pay with an issued contract from now on; record whether the vehicle can use it
            payer = self._requests.payer
            installs = type(request).__name__ == "CertificateInstallationReq"
            own = self._kit.provisioning["good"] if installs else payer
            issued = message.contract_signature_cert_chain
            at = datetime.fromtimestamp(self._time.utc_ms / 1000, tz=UTC)
            cps = message.sa_provisioning_certificate_chain
            try:
                roots = self._kit.roots
                service = verify_chain(
                    cps.certificate, sub_cas(cps), roots, role=Role.CPS, at=at, generation=Generation.ISO15118_2
                )
                signatures.verify(self._signature, message, _key_of(service.leaf))
                if own is None or not isinstance(own.key, SoftwareKey):
                    return  # keys in tokens are for signatures only
                sealed = Envelope(message.dh_public_key.value, message.contract_signature_encrypted_private_key.value)
                key = unseal(sealed, own.key, contract=_key_of(load_certificate(issued.certificate)))
            except TrustError as error:
                self.seen.facts.append(f"{WRONG}{UNUSABLE}: {error}")
                return
            self.seen.facts.append(DELIVERS)
            self._requests.payer = Payer((issued.certificate, *sub_cas(issued)), SoftwareKey(key))


def _key_of(certificate: Certificate) -> PublicKey:
    return certificate.public_key()  # type: ignore[return-value] # the profile allows no other kind


class VehicleDin(MessageVehicle, SessionDin):
    """A vehicle of DIN 70121."""

    kind = RequestsDin
    messages = MESSAGES_DIN

    @property
    def _chart(self) -> Chart:
        return STRICT_DIN
