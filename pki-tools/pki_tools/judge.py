"""Verification of a chain in files for a role, with the violated rule: `v2g pki verify`."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from pki_tools.index import Index
from v2g.errors import CertificateError, ConfigError, RevocationError
from v2g.pki.certificates import chain_from_pem, load_certificate
from v2g.pki.crl import RevocationList, load_crls
from v2g.pki.keys import how_to_unpack
from v2g.pki.ocsp import check_ocsp
from v2g.pki.profile import Generation, Role
from v2g.pki.revocation import Fail, RevocationEvidence, RevocationFinding, RevocationPolicy, decide_revocation
from v2g.pki.verify import verify_chain


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verified chain: subjects from leaf to root, and the revocation status of each certificate."""

    role: Role
    path: tuple[str, ...]
    not_after: datetime  # the earliest end
    findings: tuple[RevocationFinding, ...]


class ChainCase(msgspec.Struct, frozen=True, kw_only=True):
    """Input of a verification. `chain` is DER, leaf first; `ocsp` is DER, about the leaf."""

    chain: Sequence[bytes]
    anchors: Sequence[bytes]
    role: Role
    crosses: Sequence[bytes] = ()
    ocsp: bytes | None = None
    crls: Sequence[RevocationList] = ()
    interop: bool = False
    generation: Generation = Generation.ISO15118_20


def judge(case: ChainCase, *, at: datetime) -> Judgement:
    """Return the verified chain. Raises CertificateError or RevocationError, whose `reason` is the rule's code.

    Given evidence must be valid; without any, revocation is not checked.
    """
    chain = verify_chain(
        case.chain[0],
        case.chain[1:],
        case.anchors,
        role=case.role,
        at=at,
        interop=case.interop,
        generation=case.generation,
        crosses=case.crosses,
    )
    evidence = RevocationEvidence(ocsp={0: (case.ocsp,)} if case.ocsp is not None else {}, crls=case.crls)
    # A list that covers no certificate of the chain proves nothing.
    leaf = Fail.HARD if case.ocsp is not None or case.crls else Fail.SOFT
    if case.ocsp is not None:  # a good list does not compensate for a wrong answer
        check_ocsp(case.ocsp, chain.leaf, chain.leaf_issuer, at)
    decision = decide_revocation(chain, evidence, at=at, policy=RevocationPolicy(leaf=leaf))
    decision.require()
    return Judgement(
        role=case.role,
        path=tuple(each.subject.rfc4514_string() for each in (*chain.certificates, chain.anchor)),
        not_after=min(each.not_valid_after_utc for each in (*chain.certificates, chain.anchor)),
        findings=decision.findings,
    )


def tree_anchors(directory: Path, index: Index) -> tuple[bytes, ...]:
    """Return all roots of a tree, except untrusted test roots, as DER."""
    found: list[bytes] = []
    for entry in index.entries:
        if entry.is_root and not entry.name.startswith("foreign/"):
            found += read_certificates(directory / entry.file)[:1]
    return tuple(found)


def tree_lists(directory: Path, index: Index) -> tuple[RevocationList, ...]:
    """Return the existing revocation lists of a tree's authorities."""
    files = {(directory / entry.file).with_suffix(".crl") for entry in index.entries if entry.is_authority}
    return read_lists(sorted(file for file in files if file.is_file()))


def read_certificates(path: Path) -> tuple[bytes, ...]:
    """Return the certificates in a PEM or DER file as DER. Raises ConfigError, CertificateError(malformed)."""
    data = read_file(path)
    try:
        chain = chain_from_pem(data) if b"-----BEGIN " in data else (data,)
        for der in chain:
            load_certificate(der)
    except CertificateError as error:
        raise CertificateError(
            f"{path}: {error}", reason=error.reason, hint=error.hint or how_to_unpack(data)
        ) from None
    return chain


def read_file(path: Path, limit: int = 1024 * 1024) -> bytes:
    """Return the bytes of a file. Raises ConfigError when it cannot be read or is longer than `limit`."""
    try:
        if path.stat().st_size > limit:
            raise ConfigError(f"{path} has more than {limit} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def read_lists(paths: Sequence[Path]) -> tuple[RevocationList, ...]:
    """Return the CRLs in files. Raises ConfigError, RevocationError(malformed)."""
    found: list[RevocationList] = []
    for path in paths:
        data = read_file(path)
        try:
            found += load_crls(data)
        except RevocationError as error:
            raise RevocationError(f"{path}: {error}", reason=error.reason) from None
    return tuple(found)
