"""Trust: chains with OCSP, Plug & Charge signatures without curve operations, and CPU of full mutual handshakes."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from benchmarks.figures import Figure, median, microseconds, percentile
from benchmarks.tls import Peer, handshakes, openssl
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g import exi
from v2g.errors import ConfigError
from v2g.io.tls.endpoint import ISO15118_20, Backend
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_messages import PnC_AReqAuthorizationMode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.pki.certificates import load_certificate
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import load_private_key, verify_signature
from v2g.pki.ocsp import make_response
from v2g.pki.paths import signature_matches
from v2g.pki.profile import KeyKind, Role
from v2g.pki.revocation import RevocationEvidence, RevocationPolicy, decide_revocation
from v2g.pki.verify import verify_chain

ABOUT = "certificate chains with OCSP, signatures of Plug & Charge, CPU of mutual TLS handshakes"

CHAIN_MS = 3.0
SIGNATURE_MS = 1.0
BACKENDS: tuple[Backend, ...] = ("bundled", "native")
GROUPS = {KeyKind.SECP521R1: ("P-521", "secp521r1"), KeyKind.ED448: ("X448", "X448")}
"""By the type of all keys: the group's name in openssl's commands, and in TLS."""

Chain = tuple[tuple[bytes, ...], bytes]
"""A charger's chain, and the OCSP response for its leaf."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield figures for PKIs with each type of key."""
    for kind in GROUPS:
        with tempfile.TemporaryDirectory() as folder:
            now = datetime.now(UTC)
            pki = make_pki(Path(folder) / "pki", now=now, options=PkiOptions(key_kind=kind))
            yield from _chains(pki, kind, now, 5 if quick else 200)
            yield _signature(pki, kind, 10 if quick else 400)
            yield from _handshakes(pki, kind, Path(folder), 3 if quick else 150, 1 if quick else 4)


# -- chains -------------------------------------------------------------------------------------------------------


def _chains(pki: PkiTree, kind: KeyKind, now: datetime, times: int) -> Iterator[Figure]:
    """Verify a charger's chain over two sub-CAs and the stapled response for its leaf, as a vehicle does."""
    roots = pki.anchors("v2g")
    own: Chain = (pki.chain("secc"), pki.staple())

    def judge(shown: Chain) -> None:
        chain, staple = shown
        verified = verify_chain(chain[0], chain[1:], roots, role=Role.SECC, at=now)
        evidence = RevocationEvidence(ocsp={0: (staple,)})
        decide_revocation(verified, evidence, at=now, policy=RevocationPolicy()).require()

    cold = _spans((own for _ in range(times)), judge, before=_forget)
    judge(own)
    strangers = _spans(_strangers(pki, now, min(times, 100)), judge)
    again = _spans((own for _ in range(times)), judge)
    peer = median(microseconds(_openssl_chain(own[0], roots), calls=times)) / 1000
    leaf, above = map(load_certificate, own[0][:2])
    curve = median(microseconds(partial(leaf.verify_directly_issued_by, above), calls=times)) / 1000
    yield _chain_figure(kind, "all new", cold, f"5 signatures of {curve:.2f} ms", peer)
    yield _chain_figure(kind, "new leaf, known CAs", strangers, "2 signatures")
    yield _chain_figure(kind, "repeated", again, "1 signature")


def _spans(
    shown: Iterable[Chain], judge: Callable[[Chain], None], before: Callable[[], None] | None = None
) -> list[float]:
    """Return the CPU (ms) of each verification; elapsed time would depend on other programs."""
    found = []
    for each in shown:
        if before is not None:
            before()
        start = time.process_time()
        judge(each)
        found.append((time.process_time() - start) * 1000)
    return found


def _chain_figure(kind: KeyKind, when: str, spans: list[float], work: str, peer: float | None = None) -> Figure:
    note = f"CPU, {work}, p99 {percentile(spans, 0.99):.2f} ms"
    return Figure(
        f"chain with OCSP, {kind.value}, {when}, p50",
        median(spans),
        "ms",
        target=CHAIN_MS,
        peer="OpenSSL X509_verify_cert" if peer is not None else "",
        peer_value=peer,
        note=f"{note}; the peer checks neither OCSP nor profiles" if peer is not None else note,
    )


def _forget() -> None:
    """Clear the caches of certificates."""
    load_certificate.cache_clear()
    signature_matches.cache_clear()


def _strangers(pki: PkiTree, now: datetime, count: int) -> list[Chain]:
    """Return unseen chains of chargers, under the CAs of the PKI."""
    chain = pki.chain("secc")
    path = pki.path("cpo/sub2.pem")
    ca = Issuer(load_certificate(chain[1]), load_private_key(path.with_suffix(".key")))
    assert ca.certificate is not None
    found: list[Chain] = []
    for serial in range(2**64, 2**64 + count):
        request = IssueRequest(
            role=Role.SECC,
            subject=Subject(common_name=f"DEV2GS{serial:033}", organization="Benchmark"),
            public_key=pki.key("secc").public_key,
            serial=serial,
            not_before=now - timedelta(days=1),
            ocsp_url="http://ocsp.invalid",
        )
        leaf = issue(request, ca)
        answer = make_response(leaf, ca.certificate, ca, at=now - timedelta(hours=1))
        found.append(((leaf.public_bytes(Encoding.DER), *chain[1:]), answer))
    return found


def _openssl_chain(chain: tuple[bytes, ...], roots: tuple[bytes, ...]) -> Callable[[], object]:
    """Return a function that reads and verifies a chain by OpenSSL."""
    store = crypto.X509Store()
    for root in roots:
        store.add_cert(crypto.X509.from_cryptography(load_certificate(root)))

    def verify() -> None:
        leaf, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
        crypto.X509StoreContext(store, leaf, others).verify_certificate()

    return verify


# -- signatures ---------------------------------------------------------------------------------------------------


def _signature(pki: PkiTree, kind: KeyKind, calls: int) -> Figure:
    """Verify AuthorizationReq's signature; subtract a curve verification of the same bytes alone."""
    chain, key = pki.chain("contract"), pki.key("contract")
    mode = PnC_AReqAuthorizationMode(
        id="id1",
        gen_challenge=bytes(16),
        contract_certificate_chain=ContractCertificateChain(
            certificate=chain[0], sub_certificates=SubCertificates(certificate=chain[1:])
        ),
    )
    signed = signature.sign(mode, key, schema=COMMON_MESSAGES)
    octets, value = exi.encode_fragment(signed.signed_info, XMLDSIG), signed.signature_value.value
    curve = partial(verify_signature, key.public_key, octets, value)
    whole, alone = [], []
    for _ in range(4):  # alternating, because the machine's speed varies
        alone += microseconds(curve, calls=calls // 4 + 1)
        whole += microseconds(
            partial(signature.verify, signed, mode, key.public_key, schema=COMMON_MESSAGES), calls=calls // 4 + 1
        )
    return Figure(
        f"PnC signature without its curve operation, {kind.value}, p50",
        max(0.001, (median(whole) - median(alone)) / 1000),
        "ms",
        target=SIGNATURE_MS,
        note=f"{median(whole) / 1000:.3f} ms in all, the curve alone {median(alone) / 1000:.3f} ms",
    )


# -- handshakes ---------------------------------------------------------------------------------------------------


def _handshakes(pki: PkiTree, kind: KeyKind, folder: Path, times: int, seconds: int) -> Iterator[Figure]:
    """Connect, present both chains, close: the CPU of both ends together."""
    name, group = GROUPS[kind]
    peer = openssl(pki, folder, seconds, group=name)
    for backend in BACKENDS:
        profile = msgspec.structs.replace(ISO15118_20, groups=(group,))
        try:
            ours = handshakes(pki, times, profile=profile, backend=backend)
        except ConfigError:  # the library is not installed
            continue
        yield Figure(
            f"CPU of a mutual handshake, {kind.value} and {group.lower()}, {backend}",
            ours.cpu_ms,
            "ms",
            peer=peer.name,
            peer_value=peer.cpu_ms,
            note=_per_second(ours.cpu_ms, peer),
        )


def _per_second(cpu_ms: float, peer: Peer) -> str:
    rate = f"{1000 / cpu_ms:.0f} handshakes per second and core"
    if peer.cpu_ms is None:
        return f"{rate}; {peer.reason}"
    return f"{rate}, the peer's {1000 / peer.cpu_ms:.0f}, without OCSP and profiles"
