"""What pools send: any bytes end in a value or in the one documented error; both shapes are read alike (R217)."""

import base64
import contextlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from v2g.errors import CertificateError, CodecError, RefusedError
from v2g.pki import pools
from v2g.pki.pools import PoolContract, PoolRoot, PoolShape, RootKind, SealedContract, StoredContract
from v2g.pki.trust_list import read_trust_list

SHAPES: tuple[PoolShape, ...] = ("opcp", "opnc")
READERS: tuple[Callable[[bytes], object], ...] = (
    pools.read_roots,
    pools.read_contracts,
    pools.read_installation,
    pools.read_provisioning,
    pools.read_signing,
    pools.read_stored,
    pools.read_order,
    lambda body: pools.read_event(body, pools.event_signature("s", body), "s"),
    lambda body: read_trust_list(body, (), at=datetime.now(UTC)),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "RootCertificateCollection", "rootCertificates", "caCertificate", "rootType", "CCPResponse",
                    "emaidContent", "messageDef", "certificateInstallationRes", "signedContractDataCollection",
                    "OEMMessage", "vehicleCertificate", "contractData", "CTL", "list", "signature", "eventType",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)  # fmt: skip


@given(body=st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_no_answer_is_a_traceback(body: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(CodecError, CertificateError, RefusedError):
            read(body)


def test_a_signature_counts_with_and_without_its_prefix() -> None:
    body = b'{"eventId":"1","eventType":"root.cert.added","payload":{}}'
    given_ = pools.event_signature("secret", body)
    for signature in (given_, given_.removeprefix("sha256="), f" {given_.upper()} "):
        assert pools.read_event(body, signature, "secret").kind == "root.cert.added"
    for signature in ("", "sha256=", given_[:-1], given_ + "0"):
        with pytest.raises(CertificateError):
            pools.read_event(body, signature, "secret")


# -- as published: reference/*.v1.json of OPCP 1.0.0, *.api.consolidated.v1.json of OPNC 1.0

EMAID, PCID, NAMESPACE = "DEV2GC00000001", "WP0ABC12345678901", "urn:iso:15118:20:2020:MsgDef"
CHAIN = (b"leaf", b"sub2", b"sub1")
LEAF, SUB2, SUB1, EXI, KEY, DH = "bGVhZg==", "c3ViMg==", "c3ViMQ==", "ZXhp", "a2V5", "ZGg="
"""Base64 of their names."""


def sent(value: object) -> bytes:
    return json.dumps(value).encode()


def test_paths() -> None:
    """OPCP's are those below the host; OPNC's those below `/opnc/v1`."""
    assert {shape: msgspec.to_builtins(paths) for shape, paths in pools.PATHS.items()} == {
        "opcp": {
            "roots": "/v1/root/rootCerts",
            "root_kind": "rootType",
            "trust_list": "/v1/root/ctl",
            "provisioning": "/v1/oem/provCerts",
            "contracts": "/v1/ccp/signedContractData",
            "sign": "/v1/cps/signedContractData",
            "forward": "/v1/cps/forward/signedContractData",
            "generate": "/v1/cps/generate/signedContractData",
            "signers": "/cps/signer",
            "endpoints": "/v1/webhook/endpoints",
        },
        "opnc": {
            "roots": "/rcp/rootcertificates",
            "root_kind": "pkiType",
            "trust_list": "",
            "provisioning": "/pcp/provisioningcertificates",
            "contracts": "/ccp/signedcontractdata",
            "sign": "/cps/contractData/sign",
            "forward": "/cps/contractData/sign",
            "generate": "/cps/contractData/generateandsign",
            "signers": "/cps/cpsCertificates",
            "endpoints": "/event/endpoints",
        },
    }
    assert set(pools.SIGNATURE_HEADERS) == {"X-Operator-Signature", "X-Hubject-Signature", "payload-signature"}


@pytest.mark.parametrize(
    ("kind", "names"), [("V2G", ("V2G", "V2G")), ("MO", ("MO", "eMSP")), ("OEM", ("OEM", "OEM")), ("PE", ("PE", "PE"))]
)
def test_roots(pki: PkiTree, kind: RootKind, names: tuple[str, str]) -> None:
    der = pki.anchors("v2g")[0]
    certificate = x509.load_der_x509_certificate(der)
    about = {
        "distinguishedName": certificate.subject.rfc4514_string(),
        "commonName": certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value,
        "caCertificate": base64.b64encode(der).decode(),
        "validFrom": certificate.not_valid_before_utc.isoformat().replace("+00:00", "Z"),
        "validTo": certificate.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
    }
    root = PoolRoot(kinds=(kind,), certificate=der)
    opcp, opnc = (pools.write_roots((root,), shape) for shape in SHAPES)
    assert pools.read_roots(sent(opcp)) == pools.read_roots(sent(opnc)) == (root,)
    found: Any = opcp["RootCertificateCollection"]
    (one,) = found["rootCertificates"]
    other: Any = opnc["rootCertificateCollection"]
    for entry, type_ in ((one, {"rootType": names[0]}), (other[0], {"rootTypeList": [names[1]]})):
        assert re.fullmatch("[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", entry.pop("rootCertificateId"))
        assert entry == about | type_
    several = {"caCertificate": about["caCertificate"], "rootTypeList": ["eMSP", "OEM", "eMSP"]}
    assert pools.read_roots(sent({"rootCertificateCollection": [several]}))[0].kinds == ("MO", "OEM")


def test_roots_that_are_none_are_refused(pki: PkiTree) -> None:
    good = {"caCertificate": base64.b64encode(pki.anchors("v2g")[0]).decode(), "rootType": "V2G"}

    def read(*roots: object) -> int:
        return len(pools.read_roots(sent({"RootCertificateCollection": {"rootCertificates": roots}})))

    assert read(*[good] * 1000) == 1000
    with pytest.raises(CodecError, match="1001 roots, at most 1000"):
        read(*[good] * 1001)
    for types, what in (({"rootType": "XYZ"}, "of kind XYZ"), ({"rootType": ""}, "of kind nothing")):
        with pytest.raises(CodecError, match=what):
            read(good, good | types)
    with pytest.raises(CodecError, match="of kind XYZ"):
        read(good | {"rootTypeList": ["OEM", "XYZ"]})
    with pytest.raises(CertificateError):
        read(good | {"caCertificate": LEAF})
    with pytest.raises(CodecError, match="not base64"):
        read(good | {"caCertificate": f"{good['caCertificate']}\n"})
    with pytest.raises(CodecError, match="not an answer of a pool"):
        read({"rootType": "V2G"})


def test_an_answer_may_have_several_hundred_roots(pki: PkiTree) -> None:
    roots = [PoolRoot(kinds=("V2G",), certificate=pki.anchors("v2g")[0])] * 500
    assert len(sent(pools.write_roots(roots, "opcp"))) < pools.MOST_ANSWER_BYTES


def test_contracts() -> None:
    told = PoolContract(emaid=EMAID, response=b"exi")
    message = {"certificateInstallationRes": EXI, "emaid": EMAID}
    opcp: Any = {"CCPResponse": {"emaidContent": [{"messageDef": message}]}}
    opnc: Any = {"signedContractDataCollection": [message | {"pcid": PCID, "xsdMsgDefNamespace": NAMESPACE}]}
    assert [pools.write_contracts((told,), PCID, NAMESPACE, shape) for shape in SHAPES] == [opcp, opnc]
    assert pools.read_contracts(sent(opcp)) == pools.read_contracts(sent(opnc)) == (told,)
    del message["emaid"]
    assert pools.read_contracts(sent(opcp)) == (PoolContract(emaid="", response=b"exi"),)
    opcp["CCPResponse"]["emaidContent"] *= 64
    assert len(pools.read_contracts(sent(opcp))) == 64
    opcp["CCPResponse"]["emaidContent"].append({"messageDef": message})
    with pytest.raises(CodecError, match="65 contracts, at most 64"):
        pools.read_contracts(sent(opcp))


def test_a_vehicle_s_request() -> None:
    body = {"certificateInstallationReq": EXI, "xsdMsgDefNamespace": NAMESPACE}
    assert json.loads(pools.write_installation(b"exi", NAMESPACE)) == body
    assert pools.read_installation(sent(body)) == (b"exi", NAMESPACE)


def test_provisioning_certificates() -> None:
    """Sub-CA 1 is below the root, and always there; a second is optional."""
    for chain, second in ((CHAIN, {"2Certificate": SUB2}), ((b"leaf", b"sub1"), {})):
        subs = {"1Certificate": SUB1, **second}
        old, new = ({f"{name}{each}": text for each, text in subs.items()} for name in ("subCA", "subCa"))
        vehicle, namespace = {"vehicleCertificate": LEAF, **old}, {"xsdMsgDefNamespace": NAMESPACE}
        bodies: dict[tuple[PoolShape, bool], object] = {
            ("opcp", False): vehicle | namespace,
            ("opcp", True): {"OEMMessage": vehicle},
            ("opnc", False): {"provisioningCertificateChain": {"certificate": LEAF, **new}, **namespace},
            ("opnc", True): {"provisioningCertificate": {"provisioningCertificate": LEAF, **old}},
        }
        for (shape, answer), body in bodies.items():
            assert pools.write_provisioning(chain, NAMESPACE, shape, answer=answer) == body
            assert pools.read_provisioning(sent(body)) == chain
    for alone in (
        {"OEMMessage": {"vehicleCertificate": LEAF}},
        {"provisioningCertificate": {"provisioningCertificate": LEAF}},
        {"provisioningCertificateChain": {"certificate": LEAF}},
    ):
        assert pools.read_provisioning(sent(alone)) == (b"leaf",)
    for nothing in ({}, {"OEMMessage": {"subCA1Certificate": SUB1}}, {"errorMessages": ["not found"]}):
        with pytest.raises(CodecError, match="no provisioning certificate"):
            pools.read_provisioning(sent(nothing))


def test_a_contract_to_be_signed() -> None:
    wanted = SealedContract(
        emaid=EMAID, pcid=PCID, namespace=NAMESPACE, chain=CHAIN, encrypted_key=b"key", dh_public_key=b"dh"
    )
    inside = {"contractSignatureEncryptedPrivateKey": KEY, "dHpublickey": DH, "emaid": EMAID}
    old = {"contractSignatureCertChainCertificate": LEAF, "contractSignatureCertChainSubCertificates": [SUB2, SUB1]}
    new = {"certificate": LEAF, "subCa1Certificate": SUB1, "subCa2Certificate": SUB2}
    namespace = {"xsdMsgDefNamespace": NAMESPACE}
    opcp = {"contractData": {"contractSignatureCertChain": old, **inside}, "emaid": EMAID, "pcid": PCID, **namespace}
    bundle = {"contractCertificateChain": new, "pcid": PCID, **inside}
    opnc = {"contractCertificateBundle": bundle, **namespace}
    assert [pools.write_signing(wanted, shape) for shape in SHAPES] == [opcp, opnc]
    assert pools.read_signing(sent(opcp)) == pools.read_signing(sent(opnc)) == wanted
    del opcp["pcid"]
    assert pools.read_signing(sent(opcp)).pcid == "", "for none it is signed, and not stored"
    with pytest.raises(CodecError, match="no contract to be signed"):
        pools.read_signing(sent(namespace))
    with pytest.raises(CodecError, match="without certificate"):
        pools.read_signing(sent({"contractCertificateBundle": inside, **namespace}))


def test_a_signed_contract() -> None:
    """OPCP's service answers with another field than its pool stores."""
    contract = StoredContract(emaid=EMAID, pcid=PCID, namespace=NAMESPACE, response=b"exi")
    about = {"emaid": EMAID, "pcid": PCID, "xsdMsgDefNamespace": NAMESPACE}
    bodies: dict[tuple[PoolShape, bool], object] = {
        ("opcp", False): about | {"signedContractDataXML": EXI},
        ("opcp", True): about | {"signedData": EXI},
        ("opnc", False): about | {"certificateInstallationRes": EXI},
        ("opnc", True): {"signedContractData": about | {"certificateInstallationRes": EXI}},
    }
    for (shape, answer), body in bodies.items():
        assert pools.write_stored(contract, shape, answer=answer) == body
        assert pools.read_stored(sent(body)) == contract
    for lacking in (about, {"signedContractData": about}):
        with pytest.raises(CodecError, match="without its message"):
            pools.read_stored(sent(lacking))


def test_an_order_for_a_contract() -> None:
    times = {"contractBegins": "2026-05-11T00:00:00Z", "contractEnds": "2027-12-10T11:42:59Z"}
    body = {"emaid": EMAID, "pcid": PCID, "xsdMsgDefNamespace": NAMESPACE, **times}
    found = pools.read_order(sent(body))
    assert msgspec.to_builtins(found) == body
    assert (found.emaid, found.contract_begins, found.namespace) == (EMAID, times["contractBegins"], NAMESPACE)


def test_the_signature_of_an_event_is_an_hmac_by_its_secret() -> None:
    """The second vector of RFC 4231, 4.3, for HMAC-SHA-256."""
    body, secret = b"what do ya want for nothing?", "Jefe"
    value = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert pools.event_signature(secret, body) == f"sha256={value}"
    with pytest.raises(CodecError):
        pools.read_event(body, value, secret)
    with pytest.raises(CertificateError) as caught:
        pools.read_event(body, value, "jefe")
    assert caught.value.reason == "bad_signature"
