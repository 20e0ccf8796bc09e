"""What several tests of stores use."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pki_tools.tree import PkiTree
from tests.pki.chains import issuer_of
from v2g.pki.issue import IssueRequest, Subject, issue
from v2g.pki.keys import LeafKey
from v2g.pki.profile import Role


def certified(key: LeafKey, pki: PkiTree, role: Role, name: str, issuer: str) -> tuple[bytes, ...]:
    """Return a chain for a key, issued by a CA of the tree."""
    now = datetime.now(UTC).replace(microsecond=0)
    request = IssueRequest(
        role=role,
        subject=Subject(common_name=name, organization="Test", domain="VEHICLE" if role is Role.VEHICLE else None),
        public_key=key.public_key,
        serial=77,
        not_before=now - timedelta(hours=1),
        ocsp_url="http://ocsp.invalid",
    )
    leaf = issue(request, issuer_of(pki, f"{issuer}/sub2"))
    above = [x509.load_pem_x509_certificate(pki.path(f"{issuer}/{each}.pem").read_bytes()) for each in ("sub2", "sub1")]
    return tuple(each.public_bytes(serialization.Encoding.DER) for each in (leaf, *above))
