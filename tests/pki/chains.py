"""Chains to judge: those of a tree on disk."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki_tools.tree import PkiTree
from tests.pki.forge import NOW
from v2g.errors import CertificateError
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import load_private_key
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

LEAVES = [
    ("secc", ("v2g",), Role.SECC),
    ("vehicle", ("v2g", "oem"), Role.VEHICLE),
    ("provisioning", ("v2g", "oem"), Role.OEM_PROVISIONING),
    ("contract", ("v2g", "mo"), Role.CONTRACT),
    ("meter", ("v2g",), Role.METER),
    ("csms/server", ("csms",), Role.CSMS_SERVER),
    ("csms/station", ("csms",), Role.STATION),
    ("csms/gateway", ("csms",), Role.GATEWAY),
    ("csms/broker", ("csms",), Role.BROKER),
]
ROLES = {leaf: role for leaf, _roots, role in LEAVES}
ROOTS = {leaf: roots for leaf, roots, _role in LEAVES}


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def refusal(tree: PkiTree, leaf: str, *, at: datetime = NOW, **options: Any) -> str:
    """Return the reason for which a leaf's chain is refused."""
    chain = options.pop("chain", tree.chain(leaf))
    options = {"role": ROLES[leaf], "at": at} | options
    anchors = options.pop("anchors", tree.anchors(*ROOTS[leaf]))
    with pytest.raises(CertificateError) as error:
        verify_chain(chain[0], chain[1:], anchors, **options)
    return error.value.reason


def issuer_of(tree: PkiTree, name: str) -> Issuer:
    path = tree.path(f"{name}.pem")
    return Issuer(x509.load_pem_x509_certificate(path.read_bytes()), load_private_key(path.with_suffix(".key")))


def own_contract(tree: PkiTree, **change: Any) -> tuple[bytes, ...]:
    """Return a contract chain whose leaf was requested with `change`."""
    key = ec.generate_private_key(ec.SECP521R1())
    request = {
        "role": Role.CONTRACT,
        "subject": Subject(common_name="DEV2GC00000002", organization="eMSP"),
        "public_key": key.public_key(),
        "serial": 2,
        "not_before": NOW - timedelta(days=1),
        "ocsp_url": "http://ocsp.invalid",
    } | change
    leaf = issue(IssueRequest(**request), issuer_of(tree, "mo/sub2"))
    return (der(leaf), *tree.chain("contract")[1:])
