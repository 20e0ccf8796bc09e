"""Whom the two ends of TLS believe, and what they tell whom they do not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace

from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki, refresh_staple
from tests.io.tls.support import Make, join, refused, serving
from v2g.errors import TlsError
from v2g.io.tls.endpoint import INTEROP
from v2g.pki.credentials import Credentials
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response
from v2g.pki.profile import KeyKind

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def tree(pki: PkiTree) -> PkiTree:
    return pki


@pytest.fixture
def wrong(tmp_path: Path) -> Make:
    return lambda **options: make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(**options))


# --- no trust --------------------------------------------------------------------------------------------------

FAULTS = [
    (TreeFault.EXPIRED, "peer_certificate_expired", "own_certificate_expired"),
    (TreeFault.NOT_YET_VALID, "peer_certificate_not_yet_valid", "own_certificate_refused"),
    (TreeFault.FOREIGN_ROOT, "unknown_ca", "own_certificate_unknown_ca"),
]


@pytest.mark.some(1)
@pytest.mark.requirement("R2")
@pytest.mark.parametrize(("fault", "seen", "reported"), FAULTS)
async def test_the_vehicle_refuses_a_wrong_secc_and_says_why(
    wrong: Make, fault: TreeFault, seen: str, reported: str
) -> None:
    tree = wrong(secc=fault)
    async with serving(tree) as server:
        assert await refused(server, tree) == seen
        assert await server.failure() == reported


@pytest.mark.some(1)
@pytest.mark.requirement("R2")
@pytest.mark.parametrize(("fault", "seen", "reported"), FAULTS)
async def test_the_secc_refuses_a_wrong_vehicle_and_says_why(
    wrong: Make, fault: TreeFault, seen: str, reported: str
) -> None:
    tree = wrong(vehicle=fault)
    async with serving(tree) as server:
        stream = await join(server, tree)  # TLS 1.3: the client is done before the server has seen its certificate
        with pytest.raises(TlsError) as error:
            await stream.read(1)
        assert error.value.reason == reported
        assert await server.failure() == seen
        await stream.close()


async def test_certificates_of_the_wrong_kind_are_refused_on_either_side(tree: PkiTree) -> None:
    async with serving(tree, anchors=tree.anchors("oem", "mo")) as server:
        stream = await join(server, tree, credentials=tree.credentials("contract"))
        assert await server.failure() == "peer_certificate_wrong_root"  # an MO root, even if given
        await stream.close()
        stream = await join(server, tree, credentials=tree.credentials("provisioning"))
        assert await server.failure() == "peer_certificate_extended_key_usage"
        await stream.close()
    async with serving(tree, credentials=tree.credentials("vehicle")) as server:
        assert await refused(server, tree, anchors=tree.anchors("v2g", "oem")) == "peer_certificate_wrong_root"


async def test_a_chain_without_its_sub_cas_leads_nowhere(tree: PkiTree) -> None:
    whole = tree.credentials("secc")
    async with serving(tree, credentials=Credentials(whole.chain[:1], whole.key)) as server:
        assert await refused(server, tree) == "unknown_ca"


async def test_time_is_an_argument(tree: PkiTree) -> None:
    async with serving(tree) as server:
        later = datetime.now(UTC) + timedelta(days=61)
        assert await refused(server, tree, now=lambda: later) == "peer_certificate_expired"
        later = datetime.now(UTC) + timedelta(days=8)
        assert await refused(server, tree, now=lambda: later) == "ocsp_expired"


async def test_a_secc_without_staple_is_refused_by_the_standard_and_not_for_interop(tree: PkiTree) -> None:
    async with serving(tree, staple=None) as server:
        assert await refused(server, tree) == "ocsp_missing"
        failure = await server.failures.get()
        assert failure.reason == "own_ocsp_refused"
        assert str(failure) == "the peer demands an OCSP answer, and we have none"
        stream = await join(server, tree, profile=INTEROP)
        await stream.close()


async def test_a_revoked_secc_is_refused(wrong: Make) -> None:
    tree = wrong(secc=TreeFault.REVOKED)
    async with serving(tree) as server:
        assert await refused(server, tree) == "ocsp_revoked"
        assert await refused(server, tree, profile=INTEROP) == "ocsp_revoked"


async def test_an_answer_signed_by_somebody_else_is_refused(tree: PkiTree) -> None:
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in tree.chain("secc")[:2])
    stranger = x509.load_der_x509_certificate(tree.chain("contract")[1])
    signer = Issuer(stranger, load_private_key(tree.path("mo/sub2.key")))
    async with serving(tree, staple=make_response(leaf, issuer, signer, at=datetime.now(UTC))) as server:
        assert await refused(server, tree) == "ocsp_bad_signature"


async def test_a_renewed_staple_is_used_without_a_restart(wrong: Make) -> None:
    tree = wrong()
    async with serving(tree, staple=tree.staple) as server:
        refresh_staple(tree, now=datetime.now(UTC), revoked=True)
        assert await refused(server, tree) == "ocsp_revoked"
        refresh_staple(tree, now=datetime.now(UTC))
        await (await join(server, tree)).close()


# --- interop profile -------------------------------------------------------------------------------------------


async def test_p256_certificates_work_in_the_interop_profile_only(pki: PkiTree, wrong: Make) -> None:
    tree = wrong(key_kind=KeyKind.SECP256R1)
    p256 = replace(INTEROP, groups=("prime256v1",), signature_algorithms=("ecdsa_secp256r1_sha256",))
    async with serving(tree, staple=None, profile=INTEROP) as server:
        for profile in (INTEROP, p256):
            stream = await join(server, tree, profile=profile)
            await stream.write(b"hello")
            assert await stream.read(10) == b"hello"
            assert stream.group == profile.groups[0].replace("prime256v1", "secp256r1")
            await stream.close()
        assert await refused(server, tree) == "own_certificate_unsuitable"
        assert await refused(server, pki) == "handshake_refused"  # the strict client accepts no P-256 signature
        assert await server.failure() == "no_common_signature_algorithm"
