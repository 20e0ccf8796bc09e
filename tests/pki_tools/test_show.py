from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.judge import read_certificates
from pki_tools.show import describe
from pki_tools.tree import PkiTree
from v2g.errors import CertificateError
from v2g.pki.profile import Role

NOW = datetime.now(UTC)


def test_a_chain_is_shown_certificate_by_certificate(pki: PkiTree) -> None:
    leaf, sub2, sub1 = describe(read_certificates(pki.path("secc/chain.pem")), at=NOW)
    assert "DC=CPO" in leaf.subject
    assert (leaf.key, leaf.signature, leaf.state) == ("secp521r1", "sha512", "valid")
    assert Role.SECC in leaf.fits
    assert Role.VEHICLE not in leaf.fits
    assert leaf.responder.endswith("/cpo")
    assert Role.CPO_SUB2 in sub2.fits
    assert Role.CPO_SUB1 in sub1.fits
    assert (leaf.signed_by_next, sub2.signed_by_next) == (True, True)
    assert sub1.signed_by_next is False  # by the root, which is not in the file


def test_der_and_dates_are_read(pki: PkiTree) -> None:
    root = pki.anchors("v2g")[0]
    assert describe([root], at=NOW)[0].signed_by_next
    assert Role.V2G_ROOT in describe([root], at=NOW)[0].fits
    assert describe([root], at=NOW - timedelta(days=1))[0].state == "not_yet_valid"
    assert describe([root], at=NOW + timedelta(days=41 * 365))[0].state == "expired"


def test_the_verdict_for_a_wrong_role_says_why(pki: PkiTree) -> None:
    (row,) = describe(read_certificates(pki.path("contract/leaf.pem")), at=NOW, role=Role.SECC)
    assert "DC" in row.problem or "attribute" in row.problem
    (row,) = describe(read_certificates(pki.path("contract/leaf.pem")), at=NOW, role=Role.CONTRACT)
    assert row.problem == ""


@given(st.binary(max_size=300))
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(CertificateError) as error:
        describe([data], at=NOW)
    assert error.value.reason == "malformed"
