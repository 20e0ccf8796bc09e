"""Contract certificates: every answer of C07, from real chains, a real responder and a real revocation list."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from csms.config import Trust
from csms.tokens.rules import ChainVerdict
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from tests.csms.support import contract_judge
from tests.csms.trust.contracts import hash_data, responder
from tests.io.tls.support import pki_2
from v2g.errors import ConfigError, RevocationError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import responder_url
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

EMAID = "DEV2GC00000001"


__all__ = ["pki_2"]


def trust(pki: PkiTree, **changes: object) -> Trust:
    """Trust the tree's MO and V2G roots; what nobody says is revoked is not, unless a test says otherwise."""
    roots = (pki.path("mo/root.pem"), pki.path("v2g/root.pem"))
    return Trust(**({"roots": roots, "revocation_unknown": "accept"} | changes))  # type: ignore[arg-type]


async def judge(
    config: Trust, pem: str | None, data: tuple[OCSPRequestData, ...] = (), emaid: str = EMAID
) -> ChainVerdict:
    """Return one verdict."""
    return (await contract_judge(config).judge(emaid, pem, data)).chain


def pem_of(pki: PkiTree) -> str:
    """Return the contract chain as OCPP carries it."""
    return pki.path("contract/chain.pem").read_text()


@pytest.mark.parametrize("emaid", [EMAID, "DE-V2G-C00000001", "dev2gc00000001"])
async def test_a_good_chain_is_valid_however_its_emaid_is_written(pki: PkiTree, emaid: str) -> None:
    assert await judge(trust(pki), pem_of(pki), emaid=emaid) is ChainVerdict.VALID


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (TreeFault.EXPIRED, ChainVerdict.EXPIRED),
        (TreeFault.NOT_YET_VALID, ChainVerdict.BROKEN),
        (TreeFault.FOREIGN_ROOT, ChainVerdict.BROKEN),
    ],
)
async def test_a_wrong_chain_is_called_by_its_fault(tmp_path: Path, fault: TreeFault, expected: ChainVerdict) -> None:
    tree = make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(contract=fault))
    assert await judge(trust(tree), pem_of(tree)) is expected


async def test_a_contract_of_iso_15118_2_is_judged_by_its_own_profile(pki: PkiTree, pki_2: PkiTree) -> None:
    roots = (pki.path("mo/root.pem"), pki_2.path("mo/root.pem"))
    assert await judge(trust(pki, roots=roots), pem_of(pki_2)) is ChainVerdict.VALID
    assert await judge(trust(pki, roots=roots), pki_2.path("provisioning/chain.pem").read_text()) is ChainVerdict.BROKEN
    assert await judge(trust(pki), pem_of(pki_2)) is ChainVerdict.BROKEN


async def test_a_chain_may_lead_over_a_cross_certificate_held_here(pki: PkiTree) -> None:
    alone = {"roots": (pki.path("v2g/root.pem"),)}
    assert await judge(trust(pki, **alone), pem_of(pki)) is ChainVerdict.BROKEN
    cross = pki.path("cross/mo-by-v2g.pem")
    assert await judge(trust(pki, **alone, cross_certificates=(cross,)), pem_of(pki)) is ChainVerdict.VALID


async def test_a_certificate_for_somebody_else_proves_nothing(pki: PkiTree) -> None:
    assert await judge(trust(pki), pem_of(pki), emaid="DEV2GC00000002") is ChainVerdict.BROKEN


async def test_a_certificate_that_is_no_contract_proves_nothing(pki: PkiTree) -> None:
    assert await judge(trust(pki), pki.path("vehicle/chain.pem").read_text()) is ChainVerdict.BROKEN


@pytest.mark.parametrize("pem", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_text_that_is_no_certificate_is_a_broken_chain(pki: PkiTree, pem: str) -> None:
    assert await judge(trust(pki), pem) is ChainVerdict.BROKEN


async def test_nothing_sent_is_nothing_known(pki: PkiTree) -> None:
    assert await judge(trust(pki), None) is ChainVerdict.ABSENT


async def test_a_serial_number_on_the_list_is_revoked_at_every_level(pki: PkiTree) -> None:
    for der in pki.chain("contract"):
        serial = f"{x509.load_der_x509_certificate(der).serial_number:x}"
        assert await judge(trust(pki, revoked=(serial,)), pem_of(pki)) is ChainVerdict.REVOKED


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
async def test_a_revocation_list_of_the_issuer_counts_and_one_of_a_stranger_does_not(
    pki: PkiTree, tmp_path: Path, encoding: serialization.Encoding
) -> None:
    leaf = x509.load_der_x509_certificate(pki.chain("contract")[0])
    now = datetime.now(UTC)
    for signer, expected in (("mo/sub2", ChainVerdict.REVOKED), ("cpo/sub2", ChainVerdict.VALID)):
        entry = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(now).build()
        builder = x509.CertificateRevocationListBuilder(leaf.issuer, now, now + timedelta(days=1))
        key = load_private_key(pki.path(f"{signer}.key"))
        path = tmp_path / "crl"
        path.write_bytes(builder.add_revoked_certificate(entry).sign(key, hashes.SHA512()).public_bytes(encoding))
        assert await judge(trust(pki, crls=(path,)), pem_of(pki)) is expected


async def test_hash_data_is_enough_where_the_issuers_are_known(pki: PkiTree) -> None:
    issuers = (pki.path("contract/chain.pem"),)
    assert await judge(trust(pki, issuers=issuers), None, hash_data(pki)) is ChainVerdict.VALID
    assert await judge(trust(pki), None, hash_data(pki)) is ChainVerdict.BROKEN
    serial = hash_data(pki)[0].serial_number
    assert await judge(trust(pki, issuers=issuers, revoked=(serial,)), None, hash_data(pki)) is ChainVerdict.REVOKED


async def test_hash_data_that_cannot_be_read_is_a_broken_chain(pki: PkiTree) -> None:
    good = hash_data(pki)[0]
    for wrong in ({"serial_number": "xyz"}, {"issuer_key_hash": "00"}, {"issuer_name_hash": "not hex"}):
        fields = {name: getattr(good, name) for name in good.__struct_fields__} | wrong
        assert await judge(trust(pki), None, (OCSPRequestData(**fields),)) is ChainVerdict.BROKEN


async def test_the_responder_is_believed_for_chain_and_hash_data(pki: PkiTree) -> None:
    issuers = (pki.path("contract/chain.pem"),)
    async with responder(pki) as server:
        config = trust(pki, issuers=issuers, ocsp_responder=server.url, revocation_unknown="refuse")
        assert await judge(config, pem_of(pki)) is ChainVerdict.VALID
        assert await judge(config, None, hash_data(pki)) is ChainVerdict.VALID
        server.revoked = True
        assert await judge(config, pem_of(pki)) is ChainVerdict.REVOKED
        assert await judge(config, None, hash_data(pki, leaf_only=True)) is ChainVerdict.REVOKED


async def test_a_responder_that_the_station_names_is_asked_where_that_is_allowed(pki: PkiTree) -> None:
    """C07.FR.05: no responder is configured."""
    issuers = (pki.path("contract/chain.pem"),)
    async with responder(pki) as server:
        server.revoked = True
        named = [msgspec.structs.replace(each, responder_url=server.url) for each in hash_data(pki, leaf_only=True)]
        assert await judge(trust(pki, issuers=issuers), None, named) is ChainVerdict.VALID
        assert server.asked == 0
        assert await judge(trust(pki, issuers=issuers, status_urls=(server.url,)), None, named) is ChainVerdict.REVOKED
        assert server.asked == 1


async def test_a_responder_that_the_certificate_names_is_asked_where_that_is_allowed(tmp_path: Path) -> None:
    """C07.FR.05: no responder is configured, and the station sent the chain; its AIA says where to ask."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{place.getsockname()[1]}"
        tree = make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(url=base))
        named = responder_url(x509.load_der_x509_certificate(tree.chain("contract")[0]))
        async with responder(tree, place, named.removeprefix(base)) as server:
            for allowed, expected, asked in (((), ChainVerdict.BROKEN, 0), ((f"{base}/",), ChainVerdict.VALID, 3)):
                config = trust(tree, status_urls=allowed, revocation_unknown="refuse")
                assert await judge(config, pem_of(tree)) is expected
                assert server.asked == asked, "about the contract and its CAs"
            server.revoked = True
            assert await judge(trust(tree, status_urls=(f"{base}/",)), pem_of(tree)) is ChainVerdict.REVOKED
            assert await judge(trust(tree, status_urls=(f"{base}/elsewhere/",)), pem_of(tree)) is ChainVerdict.VALID


async def test_what_nobody_says_is_revoked_is_refused_unless_it_shall_be_accepted(pki: PkiTree) -> None:
    """C07.FR.05, C07.FR.17: by default; `accept` is reported once for each contract."""
    issuers = (pki.path("contract/chain.pem"),)
    assert Trust(roots=()).revocation_unknown == "refuse"
    for pem, data in ((pem_of(pki), ()), (None, hash_data(pki))):
        refusing = contract_judge(trust(pki, issuers=issuers, revocation_unknown="refuse"))
        verdict = await refusing.judge(EMAID, pem, data)
        assert verdict.chain is ChainVerdict.BROKEN
        assert "set trust.ocsp_responder" in verdict.reason
        reports: list[Observe] = []
        accepting = contract_judge(trust(pki, issuers=issuers), reported=reports.append)
        for _ in range(3):
            assert (await accepting.judge(EMAID, pem, data)).chain is ChainVerdict.VALID
        assert [(each.name, each.data["owner"]) for each in reports] == [("revocation_unknown", EMAID)]
        assert (accepting.accepted_unknown, refusing.accepted_unknown) == (1, 0)


async def test_a_revocation_list_without_the_contract_vouches_for_it(pki: PkiTree) -> None:
    config = {"issuers": (pki.path("contract/chain.pem"),), "revocation_unknown": "refuse"}
    for pem, data in ((pem_of(pki), ()), (None, hash_data(pki))):
        assert await judge(trust(pki, crls=(pki.path("mo/sub2.crl"),), **config), pem, data) is ChainVerdict.VALID
        assert await judge(trust(pki, crls=(pki.path("cpo/sub2.crl"),), **config), pem, data) is ChainVerdict.BROKEN


async def test_a_responder_that_does_not_answer_matters_only_where_its_word_is_required(pki: PkiTree) -> None:
    async with responder(pki) as server:
        server.broken = True
        for url, why in (
            (server.url, "not an OCSP answer"),
            ("http://127.0.0.1:9/", "OCSP responder http://127.0.0.1:9/: "),
        ):
            config = trust(pki, ocsp_responder=url, ocsp_timeout_s=2.0)
            assert await judge(config, pem_of(pki)) is ChainVerdict.VALID
            required = trust(pki, ocsp_responder=url, ocsp_timeout_s=2.0, revocation_unknown="refuse")
            verdict = await contract_judge(required).judge(EMAID, pem_of(pki), ())
            assert (verdict.chain, why in verdict.reason) == (ChainVerdict.BROKEN, True)


async def test_a_responder_whose_answers_have_no_next_update_is_believed(pki: PkiTree) -> None:
    """RFC 6960 4.2.2.1; servers of CAs leave it out by default."""
    async with responder(pki) as server:
        server.open_ended = True
        config = trust(pki, ocsp_responder=server.url, revocation_unknown="refuse")
        assert await judge(config, pem_of(pki)) is ChainVerdict.VALID
        server.revoked = True
        assert await judge(config, pem_of(pki)) is ChainVerdict.REVOKED


async def test_a_vehicle_whose_status_is_unknown_is_refused_with_what_to_do(pki: PkiTree) -> None:
    leaf, *authorities = pki.chain("provisioning")
    path = verify_chain(leaf, authorities, pki.anchors("oem"), role=Role.OEM_PROVISIONING, at=datetime.now(UTC))
    for changes, why in (
        ({}, "/oem may not be asked: set trust.ocsp_responder, status_urls or crls"),
        ({"ocsp_responder": "http://127.0.0.1:9/"}, "OCSP responder http://127.0.0.1:9/: "),
    ):
        with pytest.raises(RevocationError, match=why):
            await contract_judge(trust(pki, revocation_unknown="refuse", **changes)).check_revocation(path, "PCID")


async def test_answers_are_kept_for_a_while(pki: PkiTree) -> None:
    async with responder(pki) as server:
        judge = contract_judge(trust(pki, ocsp_responder=server.url))
        for _ in range(3):
            await judge.judge(EMAID, pem_of(pki), ())
        assert server.asked == len(pki.chain("contract"))


class Later(Clock):
    """A clock that can be put forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def test_an_answer_that_proves_nothing_is_not_kept_for_long(pki: PkiTree) -> None:
    """One that was forged or broken on its way refuses a contract for a minute, and not for an hour."""
    async with responder(pki) as server:
        server.broken = True
        clock = Later()
        judge = contract_judge(trust(pki, ocsp_responder=server.url, revocation_unknown="refuse"), clock)
        assert (await judge.judge(EMAID, pem_of(pki), ())).chain is ChainVerdict.BROKEN
        server.broken, clock.ahead_s = False, 61.0
        assert (await judge.judge(EMAID, pem_of(pki), ())).chain is ChainVerdict.VALID
        asked, clock.ahead_s = server.asked, 1000.0
        assert (await judge.judge(EMAID, pem_of(pki), ())).chain is ChainVerdict.VALID
        assert server.asked == asked + 2  # about the CAs, of which this responder knows nothing


async def test_a_contract_is_not_refused_for_longer_than_its_responder_is_busy(pki: PkiTree) -> None:
    async with responder(pki) as server:
        server.busy = True
        judge = contract_judge(trust(pki, ocsp_responder=server.url, revocation_unknown="refuse"), Later())
        refused = await judge.judge(EMAID, pem_of(pki), ())
        assert (refused.chain, refused.reason.endswith("it answered tryLater")) == (ChainVerdict.BROKEN, True)
        server.busy = False
        assert (await judge.judge(EMAID, pem_of(pki), ())).chain is ChainVerdict.VALID


@pytest.mark.parametrize(
    "changes",
    [{"roots": ("missing.pem",)}, {"roots": ()}, {"crls": (Path("missing"),)}, {"revoked": ("xyz",)}],
)
def test_trust_that_cannot_be_loaded_is_a_configuration_error(pki: PkiTree, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        contract_judge(trust(pki, **changes))
