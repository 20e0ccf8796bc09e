"""Contracts of ISO 15118-2, and vehicles' requests for them."""

from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from pki_tools.tree import PkiTree
from tests.iso15118.d20.contracts import NOW, new_contract
from tests.secc.session.d2.contract_bench import chain_of
from v2g import exi
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import CertificateInstallationReq, CertificateUpdateReq
from v2g.iso15118.d2.messages.data_types import ListOfRootCertificateIDs
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.engine.contracts import Contract
from v2g.iso15118.engine.xmldsig import issuer_serial
from v2g.pki.keys import SigningKey
from v2g.pki.profile import Generation

SESSION = bytes(range(1, 9))


def contract_2(
    tree: PkiTree, emaid: str = "DEV2GC00000001", *, days: float = 1000, start: int = 2, **change: Any
) -> Contract:
    """Return a new contract of the tree that ends in `days`, requested with `change`; `start` makes its number."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = new_contract(
        tree,
        emaid,
        start=start,
        public_key=key.public_key(),
        generation=Generation.ISO15118_2,
        not_after=NOW + timedelta(days=days),
        **change,
    )
    return Contract(made.chain, key)


def installation(tree: PkiTree, key: SigningKey | None = None, **changes: Any) -> bytes:
    """Return a signed CertificateInstallationReq of the tree's vehicle."""
    fields = {"oem_provisioning_cert": tree.chain("provisioning")[0], **changes}
    return _signed(CertificateInstallationReq(**_common(tree), **fields), key or tree.key("provisioning"))


def update(tree: PkiTree, key: SigningKey | None = None, **changes: Any) -> bytes:
    """Return a signed CertificateUpdateReq for the tree's contract."""
    fields: dict[str, Any] = {"contract_signature_cert_chain": chain_of(tree, "contract"), "emaid": "DEV2GC00000001"}
    return _signed(CertificateUpdateReq(**_common(tree), **(fields | changes)), key or tree.key("contract"))


def _common(tree: PkiTree) -> dict[str, Any]:
    roots = ListOfRootCertificateIDs(root_certificate_id=tuple(map(issuer_serial, tree.anchors("v2g", "mo"))))
    return {"list_of_root_certificate_ids": roots, "id": "id1"}


def _signed(body: Any, key: SigningKey) -> bytes:
    header = MessageHeader(session_id=SESSION, signature=signatures.sign(body, key))
    return exi.encode(V2G_Message(header=header, body=Body(body_element=body)))
