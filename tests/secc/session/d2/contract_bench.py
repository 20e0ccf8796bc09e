"""A vehicle of ISO 15118-2 with a contract, on a bench: it signs what has to be signed."""

import time
from typing import Any

from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import SeccConfig
from tests.secc.session.d2.bench import AC_WAY, CONFIG, DC_WAY, Iso2Bench
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.common import CertificateInstallationReq
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.pki.certificates import emaid_of, load_certificate

BOTH = replace(CONFIG, authorization=(Authorization.PnC, Authorization.EIM))
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
            c.attempt, ports.AuthorizationStatus.ACCEPTED
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
        tree = tree or self.tree
        fields = {
            "emaid": emaid_of(load_certificate(tree.chain("contract")[0])),
            "contract_signature_cert_chain": chain_of(tree, "contract"),
            **changes,
        }
        return self.send(self.ask("PaymentDetailsReq", **fields))

    def authorize(self, challenge: bytes) -> Any:
        return self.send(self.ask("AuthorizationReq", gen_challenge=challenge, id="id1"))

    def charge(self) -> "ContractBench":
        """Reach the charge loop, paid by the contract."""
        assert code(self.authorize(self.select().present().gen_challenge)) == "OK"
        self.go(*(AC_WAY if self.alternating else DC_WAY)[5:])
        assert not self.reason
        return self
