"""The provisioning service of ISO 15118-2: what it delivers, in bytes that others understand, and what it refuses."""

import base64
import hashlib
import os
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.exi.peer import PeerCodec
from tests.io.tls.support import other_2, pki_2
from tests.iso15118.d2.contracts import SESSION, contract_2, installation, update
from tests.iso15118.d20.contracts import NOW, PCID, own_contract
from tests.secc.session.d2.contract_bench import chain_of
from v2g import exi
from v2g.errors import CodecError, RevocationError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.envelope import Envelope, unseal
from v2g.iso15118.d2.messages.common import CertificateInstallationRes, CertificateUpdateRes
from v2g.iso15118.d2.provisioning import Asked, ProvisioningService
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.contracts import Answer, Contract, Service
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.keys import SoftwareKey

__all__ = ["other_2", "pki_2"]

UTC_MS = int(NOW.timestamp() * 1000)
MSG, SIG = "{urn:iso:15118:2:2013:MsgBody}", "{http://www.w3.org/2000/09/xmldsig#}"


def make_service(tree: PkiTree, **changes: Any) -> ProvisioningService:
    options: dict[str, Any] = {
        "oem_roots": tree.anchors("oem"),
        "mo_roots": tree.anchors("mo"),
        "oem_sub_cas": tree.chain("provisioning")[1:],
    }
    return ProvisioningService(Service(tree.chain("cps"), tree.key("cps")), **(options | changes))


def serve(
    at: ProvisioningService, request: bytes, *contracts: Contract, utc_ms: int = UTC_MS, most: int = 9000
) -> Answer:
    asked = at.read(request, utc_ms)
    return asked if isinstance(asked, Answer) else at.answer(asked, contracts, utc_ms, os.urandom, most_bytes=most)


def read(answer: Answer) -> Any:
    message: Any = exi.decode(answer.exi, ISO2)
    assert message.header.session_id == SESSION
    assert message.body.body_element.response_code is answer.code
    return message


def opened(message: Any, recipient: SoftwareKey) -> ec.EllipticCurvePrivateKey:
    body = message.body.body_element
    leaf: Any = load_certificate(body.contract_signature_cert_chain.certificate).public_key()
    sealed = Envelope(body.dh_public_key.value, body.contract_signature_encrypted_private_key.value)
    return unseal(sealed, recipient, contract=leaf)


def test_a_vehicle_gets_the_contract_that_is_valid_longest(pki_2: PkiTree) -> None:
    contracts = [contract_2(pki_2, f"DEV2GC0000000{at}", days=days) for at, days in enumerate((300, 900, 600), 1)]
    answer = serve(make_service(pki_2), installation(pki_2), own_contract(pki_2), *contracts)
    assert (answer.code.name, answer.pcid, answer.emaid) == ("OK", PCID, "DEV2GC00000002")
    message = read(answer)
    body = message.body.body_element
    assert isinstance(body, CertificateInstallationRes)
    assert body.contract_signature_cert_chain.certificate == contracts[1].chain[0]
    assert body.sa_provisioning_certificate_chain == chain_of(pki_2, "cps")
    assert not signatures.verify(message.header.signature, body, pki_2.key("cps").public_key)
    assert opened(message, pki_2.key("provisioning")).private_numbers() == contracts[1].key.private_numbers()  # type: ignore[union-attr]


@pytest.mark.parametrize("written", ["DEV2GC00000001", "dev2gc00000001", "DEV2GC000000017"])
def test_an_update_is_sealed_for_the_contract_that_it_replaces(pki_2: PkiTree, written: str) -> None:
    new = contract_2(pki_2)
    foreign = contract_2(pki_2, "DEV2GC00000009", days=2000)
    answer = serve(make_service(pki_2), update(pki_2, emaid=written), own_contract(pki_2), foreign, new)
    assert (answer.code.name, answer.emaid) == ("OK", "DEV2GC00000001")
    message = read(answer)
    assert isinstance(message.body.body_element, CertificateUpdateRes)
    assert message.body.body_element.contract_signature_cert_chain.certificate == new.chain[0]
    assert opened(message, pki_2.key("contract"))


@pytest.mark.one_worker("peer_codec")
@pytest.mark.parametrize("request_of", [installation, update])
def test_others_read_the_answer_and_believe_its_signature(
    pki_2: PkiTree, peer_codec: PeerCodec, request_of: Any
) -> None:
    """The other processor reads the message, and encodes what is signed; digests and ECDSA are a library's."""
    answer = serve(make_service(pki_2), request_of(pki_2), contract_2(pki_2))
    root = ElementTree.fromstring(peer_codec.decode(ISO2, answer.exi, fragment=False))

    def encoded(element: Any, schema: Any) -> bytes:
        return peer_codec.encode(schema, ElementTree.tostring(element, encoding="unicode"), fragment=True)

    names = ("ContractSignatureCertChain", "ContractSignatureEncryptedPrivateKey", "DHpublickey", "eMAID")
    elements = [element for name in names if (element := root.find(f".//{MSG}{name}")) is not None]
    info = root.find(f".//{SIG}SignedInfo")
    assert info is not None
    assert len(elements) == len(names)
    for element, reference in zip(elements, info.iter(f"{SIG}Reference"), strict=True):
        digest = hashlib.sha256(encoded(element, ISO2)).digest()
        assert reference.findtext(f"{SIG}DigestValue") == base64.b64encode(digest).decode()
        assert reference.get("URI") == f"#{next(iter(element.attrib.values()))}"
    value = base64.b64decode(root.findtext(f".//{SIG}SignatureValue") or "")
    numbers = (int.from_bytes(value[:32]), int.from_bytes(value[32:]))
    key: Any = load_certificate(pki_2.chain("cps")[0]).public_key()
    key.verify(encode_dss_signature(*numbers), encoded(info, XMLDSIG), ec.ECDSA(hashes.SHA256()))


STRANGER = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(
    ("request_of", "key", "changes", "code"),
    [
        (installation, STRANGER, {}, "FAILED_SignatureError"),
        (update, STRANGER, {}, "FAILED_SignatureError"),
        (update, None, {"emaid": "DEV2GC00000002"}, "FAILED_NoCertificateAvailable"),
        (installation, None, {"oem_provisioning_cert": b"no certificate"}, "FAILED_CertChainError"),
    ],
)
def test_a_request_that_is_not_the_vehicles_gets_nothing(
    pki_2: PkiTree, request_of: Any, key: Any, changes: dict[str, Any], code: str
) -> None:
    answer = serve(make_service(pki_2), request_of(pki_2, key, **changes), contract_2(pki_2))
    assert answer.code.name == code
    assert read(answer).header.signature is None


def test_a_certificate_for_something_else_is_no_provisioning_certificate(pki_2: PkiTree) -> None:
    request = installation(pki_2, pki_2.key("contract"), oem_provisioning_cert=pki_2.chain("contract")[0])
    answer = serve(make_service(pki_2, oem_roots=pki_2.anchors("mo", "oem")), request, contract_2(pki_2))
    assert answer.code.name == "FAILED_CertChainError"


@pytest.mark.parametrize("missing", ["oem_roots", "oem_sub_cas"])
def test_a_vehicle_whose_maker_is_not_known(pki_2: PkiTree, other_2: PkiTree, missing: str) -> None:
    roots = {"oem_roots": other_2.anchors("oem")} if missing == "oem_roots" else {"oem_sub_cas": ()}
    answer = serve(make_service(pki_2, **roots), installation(pki_2), contract_2(pki_2))
    assert answer.code.name == "FAILED_CertChainError"
    assert answer.reason.startswith("unknown_root")


def test_the_sub_cas_of_several_makers_are_held(pki_2: PkiTree, other_2: PkiTree) -> None:
    held = tuple(
        der for tree in (other_2, pki_2) for sub in ("1", "2") for der in load_chain(tree.path(f"oem/sub{sub}.pem"))
    )
    service = make_service(pki_2, oem_sub_cas=held, oem_roots=(*other_2.anchors("oem"), *pki_2.anchors("oem")))
    assert serve(service, installation(pki_2), contract_2(pki_2)).code.name == "OK"
    assert serve(service, installation(other_2), contract_2(pki_2)).code.name == "OK"


def test_contracts_that_this_vehicle_cannot_have(pki_2: PkiTree, other_2: PkiTree, pki: PkiTree, subtests: Any) -> None:
    own, later = own_contract(pki_2), contract_2(pki_2)
    cases: dict[str, tuple[Any, tuple[Contract, ...], str]] = {
        "none": (installation, (), "no contract"),
        "the same": (update, (own,), "newest"),
        "an older one": (update, (contract_2(pki_2, days=30),), "newest"),
        "another one": (update, (contract_2(pki_2, "DEV2GC00000009"),), "no contract"),
        "expired": (installation, (contract_2(pki_2, days=-1),), "expired at "),
        "expired, beside another curve": (installation, (contract_2(pki_2, days=-1), own_contract(pki)), "expired at "),
        "of another provider": (installation, (own_contract(other_2),), "unknown_root: "),
        "on another curve": (installation, (own_contract(pki),), "wrong_curve: "),
        "with another key": (installation, (Contract(later.chain, own.key),), "not that of its certificate"),
    }
    for name, (request_of, contracts, why) in cases.items():
        with subtests.test(name):
            answer = serve(make_service(pki_2), request_of(pki_2), *contracts)
            assert answer.code.name == "FAILED_NoCertificateAvailable"
            assert why in answer.reason
            assert read(answer).header.signature is None


def test_chains_out_of_their_time(pki_2: PkiTree) -> None:
    for request, years in ((update(pki_2), 3), (installation(pki_2), 31), (installation(pki_2), -1)):
        at = UTC_MS + years * 366 * 86_400_000
        assert serve(make_service(pki_2), request, utc_ms=at).code.name == "FAILED_CertificateExpired"


@pytest.mark.parametrize(
    ("reason", "code"), [("revoked", "FAILED_CertificateRevoked"), ("unknown", "FAILED_CertChainError")]
)
def test_a_revoked_chain(pki_2: PkiTree, reason: Any, code: str) -> None:
    at = make_service(pki_2)
    asked = at.read(update(pki_2), UTC_MS)
    assert isinstance(asked, Asked)
    answer = at.revoked(asked, RevocationError("the provider says so", reason=reason), UTC_MS)
    assert (answer.code.name, answer.emaid) == (code, "DEV2GC00000001")
    assert read(answer)


def test_a_response_that_does_not_fit_the_transport(pki_2: PkiTree) -> None:
    answer = serve(make_service(pki_2), installation(pki_2), contract_2(pki_2), most=3000)
    assert answer.code.name == "FAILED_NoCertificateAvailable"
    assert "at most 3000 fit" in answer.reason


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=300))
def test_bytes_that_are_no_request(pki_2: PkiTree, data: bytes) -> None:
    with pytest.raises(CodecError):
        make_service(pki_2).read(data, UTC_MS)
    with pytest.raises(CodecError):
        make_service(pki_2).read(serve(make_service(pki_2), installation(pki_2)).exi, UTC_MS)
