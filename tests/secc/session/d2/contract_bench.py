"""A vehicle of ISO 15118-2 with a contract, on a bench: it signs what has to be signed."""

import time
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import SeccConfig
from tests.secc.session.d2.bench import AC_WAY, CONFIG, DC_WAY, Iso2Bench, roots
from v2g import exi
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import CertificateInstallationReq
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.sequence import State
from v2g.pki.certificates import emaid_of, load_certificate
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.security.certificates import ContractAnswer

BOTH = replace(CONFIG, authorization=(Authorization.PnC, Authorization.EIM))
OFFERING = replace(BOTH, certificate_installation=True)
INSTALL, UPDATE = "CertificateInstallationReq", "CertificateUpdateReq"
OPENING = ("SupportedAppProtocolReq", "SessionSetupReq", "ServiceDiscoveryReq")


def code(response: Any) -> str:
    return str(response.response_code.name)


def chain_of(tree: PkiTree, name: str, element_id: str | None = None) -> types.CertificateChain:
    leaf, *subs = tree.chain(name)
    return types.CertificateChain(
        certificate=leaf, sub_certificates=types.SubCertificates(certificate=tuple(subs)), id=element_id
    )


class ContractBench(Iso2Bench):
    """A vehicle with a contract; `key` signs in its name, `provisioning` in that of its maker.

    `signs` is whether it does, `alters` whether it signs something else than it sends.
    """

    def __init__(self, pki: PkiTree, config: SeccConfig = BOTH, **options: Any) -> None:
        self.tree = pki
        self.key, self.provisioning = pki.key("contract"), pki.key("provisioning")
        self.signs, self.alters = True, False
        super().__init__(pki, time.time_ns() // 1_000_000, config, **{"tls": True, **options})
        self.auto[ports.AuthorizeContract] = lambda c: ports.AuthorizationDecided(
            c.attempt, AuthorizationStatus.ACCEPTED
        )

    def wrapped(self, session_id: bytes, body: Any) -> V2G_Message:
        message = super().wrapped(session_id, body)
        if not self.signs or not signatures.signed_elements(body):
            return message
        key = self.provisioning if isinstance(body, CertificateInstallationReq) else self.key
        signed = signatures.sign(replace(body, id="id2") if self.alters else body, key)
        return replace(message, header=MessageHeader(session_id=session_id, signature=signed))

    def select(self) -> "ContractBench":
        self.go(*OPENING)
        response = self.send(
            self.ask("PaymentServiceSelectionReq", selected_payment_option=types.PaymentOption.Contract)
        )
        assert code(response) == "OK"
        return self

    def present(self, tree: PkiTree | None = None, **changes: Any) -> Any:
        return self.send(self.ask("PaymentDetailsReq", **{**presented(tree or self.tree), **changes}))

    def authorize(self, challenge: bytes) -> Any:
        return self.send(self.ask("AuthorizationReq", gen_challenge=challenge, id="id1"))

    def charge(self) -> "ContractBench":
        """Reach the charge loop, paid by the contract."""
        assert code(self.authorize(self.select().present().gen_challenge)) == "OK"
        self.go(*(AC_WAY if self.alternating else DC_WAY)[5:])
        assert not self.reason
        return self


def request(bench: ContractBench, name: str, tree: PkiTree | None = None, **changes: Any) -> Any:
    tree = tree or bench.tree
    fields: dict[str, Any] = {"list_of_root_certificate_ids": roots(), "id": "id1"}
    if name == INSTALL:
        fields["oem_provisioning_cert"] = tree.chain("provisioning")[0]
    else:
        fields |= presented(tree)
    return bench.ask(name, **{**fields, **changes})


def answer(bench: ContractBench, name: str, session: bytes | None = None, answered: str = "OK") -> bytes:
    """Return the answer of a back end."""
    response = getattr(common, name.replace("Req", "Res"))(
        response_code=types.ResponseCode(answered),
        sa_provisioning_certificate_chain=chain_of(bench.tree, "cps"),
        contract_signature_cert_chain=chain_of(bench.tree, "contract", "id1"),
        contract_signature_encrypted_private_key=types.ContractSignatureEncryptedPrivateKey(value=bytes(48), id="id2"),
        dh_public_key=types.DiffieHellmanPublickey(value=bytes(65), id="id3"),
        emaid=types.EMAID(value="DEV2GC00000001", id="id4"),
    )
    header = MessageHeader(session_id=bench.session.session_id if session is None else session)
    return exi.encode(V2G_Message(header=header, body=Body(body_element=response)))


class SweptBench(ContractBench):
    """A vehicle by the book, which is given a contract, pays by it, and signs receipts; it has no other answers."""

    def __init__(self, pki: PkiTree, *, alternating: bool = False) -> None:
        super().__init__(pki, OFFERING, alternating=alternating, can_install=True)
        self.auto[ports.RequestContract] = self._installed

    def _installed(self, command: ports.RequestContract) -> ports.ContractAnswered:
        name = type(self.asked).__name__
        return ports.ContractAnswered(command.attempt, ContractAnswer("answered", answer(self, name)))

    @property
    def ways(self) -> Mapping[State, tuple[str, ...]]:
        loop = DC_WAY[5:] if not self.alternating else AC_WAY[5:]
        paid = (*OPENING, "select", "PaymentDetailsReq", "AuthorizationReq")
        receipt = State.AC_METERING_RECEIPT if self.alternating else State.DC_METERING_RECEIPT
        return {
            State.SERVICE_SELECTION: OPENING,
            State.PAYMENT_DETAILS: paid[:4],
            State.CONTRACT_INSTALLED: (*paid[:4], INSTALL),
            State.AUTHORIZATION: paid[:5],
            State.CHARGE_PARAMETER_DISCOVERY: paid,
            receipt: (*paid, *loop, "require a receipt", loop[-1]),
        }

    def go(self, *names: str) -> Any:
        response = None
        for name in names:
            if name == "select":
                contract = types.PaymentOption.Contract
                response = self.send(self.ask("PaymentServiceSelectionReq", selected_payment_option=contract))
            elif name == "require a receipt":
                self.fact(ports.MeterRead(self.utc_ms, self.import_mwh + 9_000, self.export_mwh))
                self.fact(ports.MeteringConfirmationRequested())
            else:
                response = super().go(name)
        return response

    def send(self, request: Any, session_id: bytes | None = None) -> Any:
        self.asked = request
        return super().send(request, session_id)

    def _newest(self, field: str, default: Any) -> Any:
        found = (getattr(each, field, None) for each in reversed(self.responses))
        return next((each for each in found if each is not None), default)

    def _PaymentDetailsReq(self) -> dict[str, Any]:
        return presented(self.tree)

    def _AuthorizationReq(self) -> dict[str, Any]:
        challenge = self._newest("gen_challenge", None)
        return {} if challenge is None else {"gen_challenge": challenge, "id": "id1"}

    def _MeteringReceiptReq(self) -> dict[str, Any]:
        info = self._newest("meter_info", types.MeterInfo(meter_id="M"))
        session_id = self.session.session_id
        return {"session_id": session_id, "sa_schedule_tuple_id": 1, "meter_info": info, "id": "id1"}

    def _CertificateInstallationReq(self) -> dict[str, Any]:
        return {
            "oem_provisioning_cert": self.tree.chain("provisioning")[0],
            "list_of_root_certificate_ids": roots(),
            "id": "id1",
        }

    def _CertificateUpdateReq(self) -> dict[str, Any]:
        return {**presented(self.tree), "list_of_root_certificate_ids": roots(), "id": "id1"}


def presented(tree: PkiTree) -> dict[str, Any]:
    """Return the eMAID and the chain of the contract."""
    return {
        "emaid": emaid_of(load_certificate(tree.chain("contract")[0])),
        "contract_signature_cert_chain": chain_of(tree, "contract"),
    }
