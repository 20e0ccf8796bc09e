"""The laboratory's EST server by our client, and by openssl's requests over plain HTTPS (R217)."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pki_tools.est import EstSettings, decide, waiting
from pki_tools.issuing import make_request
from pki_tools.renewal import revoke_certificate
from pki_tools.tree import PkiTree
from tests.pki_tools.conftest import NOW, Openssl
from tests.pki_tools.est_lab import NEW, SECC_ID, Lab, csr_of
from v2g.errors import ConfigError, RefusedError
from v2g.io.http.client import HttpAnswer, request
from v2g.io.http.est import EnrolmentPending
from v2g.pki.est import read_certificates, read_csr
from v2g.pki.issue import Subject
from v2g.pki.keys import private_pem, save_secret
from v2g.pki.profile import Role
from v2g.pki.verify import VerifiedChain


@pytest_asyncio.fixture
async def lab(tree: PkiTree, tmp_path: Path) -> AsyncIterator[Lab]:
    found = Lab(tree, tmp_path)
    await found.start(EstSettings(users={"lab": "a secret"}))
    yield found
    await found.stop()


@pytest.mark.requirement("R217")
async def test_a_charger_gets_its_chain_and_the_same_request_the_same_certificate(lab: Lab) -> None:
    csr = csr_of()
    assert await lab.asks(lab.client(), csr) == 3
    first = await lab.client().enrol(csr, NEW)
    before = len(lab.tree.index().entries)
    both = await asyncio.gather(lab.client("").enrol(csr, NEW), lab.client("/word-cpo").enrol(csr, NEW))
    assert list(both) == [first, first]
    assert len(lab.tree.index().entries) == before
    assert [each.data["what"] for each in lab.events] == ["issued"]


async def test_the_paths_of_public_ecosystems_are_served(lab: Lab) -> None:
    client = lab.client("", enrol="cpo/simpleenroll/{iso}", cacerts="cpo/cacerts/{iso}/{curve}/")
    assert await lab.asks(client, csr_of()) == 3
    names = {each.subject for each in await client.cacerts(csr_of(), NEW)}
    wanted = {x509.load_der_x509_certificate(each).subject for each in lab.tree.chain("secc")[1:]}
    assert names == wanted | {x509.load_der_x509_certificate(lab.tree.anchors("v2g")[0]).subject}


async def test_strangers_get_nothing(lab: Lab) -> None:
    for client in (lab.client(password="wrong"), lab.client(password="")):
        with pytest.raises(RefusedError, match="401") as refused:
            await lab.asks(client, csr_of())
        assert refused.value.hint
    assert not [each for each in lab.events if each.name == "enrolment"]


async def test_a_request_waits_for_a_person_over_a_restart(lab: Lab) -> None:
    settings = EstSettings(users={"lab": "a secret"}, approve=True)
    await lab.start(settings)
    good, bad = csr_of(), csr_of("DEV2GS00000000000000000000000000000002X")
    for csr in (good, good, bad):
        assert await lab.client().enrol(csr, NEW) == EnrolmentPending(30)
    listed = {subject.rpartition("CN=")[2]: number for number, subject in waiting(lab.tree.directory)}
    assert len(listed) == 2
    await lab.start(settings)
    decide(lab.tree.directory, listed[SECC_ID], approve=True)
    decide(lab.tree.directory, listed["DEV2GS00000000000000000000000000000002X"], approve=False)
    assert await lab.asks(lab.client(), good) == 3
    with pytest.raises(RefusedError, match="rejected"):
        await lab.client().enrol(bad, NEW)
    assert waiting(lab.tree.directory) == []
    for unknown in (listed[SECC_ID], "../index", "secc-0"):
        with pytest.raises(ConfigError, match="waits"):
            decide(lab.tree.directory, unknown, approve=True)


async def test_a_station_renews_by_its_own_certificate_only(lab: Lab) -> None:
    leaf = x509.load_der_x509_certificate(lab.tree.chain("csms/station")[0])
    name = str(leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    csr = csr_of(name, Role.STATION)
    assert csr.subject == leaf.subject
    holder, roots = lab.holder("csms/station"), lab.tree.anchors("csms")
    renewed = await holder.chain(csr, roots, role=Role.STATION, generation=NEW, renewal=True)
    assert isinstance(renewed, VerifiedChain)
    assert renewed.leaf.public_key() == csr.public_key()
    with pytest.raises(RefusedError, match="differ"):
        await holder.enrol(csr_of("CS-OTHER", Role.STATION), NEW, renewal=True)
    with pytest.raises(RefusedError, match="holder"):
        await lab.client("/station").enrol(csr, NEW, renewal=True)
    assert await lab.asks(holder, csr_of("CS-NEW", Role.STATION), Role.STATION) > 0, "it may also enrol others"


async def test_a_revoked_client_is_refused(lab: Lab) -> None:
    holder = lab.holder("csms/station")
    revoke_certificate(lab.tree.directory, name="csms/station", at=NOW)
    with pytest.raises(RefusedError, match="revoked"):
        await holder.enrol(csr_of("CS-NEW", Role.STATION), NEW)


async def test_a_revoked_certificate_is_not_given_again(lab: Lab) -> None:
    csr = csr_of()
    assert await lab.asks(lab.client(), csr) == 3
    (entry,) = [each for each in lab.tree.index().entries if each.name.startswith("est/")]
    revoke_certificate(lab.tree.directory, name=entry.name, at=datetime.now(UTC))
    with pytest.raises(RefusedError, match="revoked"):
        await lab.client().enrol(csr, NEW)


async def _sent(lab: Lab, method: str, path: str, body: bytes | None) -> HttpAnswer:
    context = ssl.create_default_context(cafile=str(lab.tree.path("csms/root.pem")))
    headers = {"Authorization": f"Basic {base64.b64encode(b'lab:a secret').decode()}"}
    url = f"https://localhost:{lab.port}/.well-known/est/{path}"
    return await request(method, url, most=10**6, timeout_s=20, body=body, headers=headers, context=context)


async def test_requests_made_by_openssl_are_answered_for_openssl(lab: Lab, openssl: Openssl, tmp_path: Path) -> None:
    save_secret(tmp_path / "own.key", private_pem(ec.generate_private_key(ec.SECP521R1())))
    der, p7 = tmp_path / "csr.der", tmp_path / "answer.p7"
    openssl(
        "req",
        "-new",
        "-key",
        tmp_path / "own.key",
        "-subj",
        f"/CN={SECC_ID}/O=Lab/DC=CPO",
        "-outform",
        "DER",
        "-out",
        der,
    )
    answer = await _sent(lab, "POST", "cpo/simpleenroll", base64.encodebytes(der.read_bytes()))
    assert answer.status == 200
    p7.write_bytes(base64.b64decode(answer.body))
    shown = openssl("pkcs7", "-inform", "DER", "-in", p7, "-print_certs").stdout
    (tmp_path / "all.pem").write_text(shown)
    done = openssl(
        "verify",
        "-CAfile",
        lab.tree.path("v2g/root.pem"),
        "-untrusted",
        tmp_path / "all.pem",
        tmp_path / "all.pem",
        check=False,
    )
    assert done.stdout.strip().endswith("OK") or "OK" in done.stdout, done.stderr


async def test_what_is_no_request_is_refused_and_nothing_is_issued(lab: Lab) -> None:
    before = len(lab.tree.index().entries)
    assert (await _sent(lab, "GET", "csrattrs", None)).status == 204
    for path, body, status in (
        ("simpleenroll", b"rubbish", 400),
        ("simpleenroll", b"", 400),
        ("simpleenroll", b"\x30" * 400_000, 413),
        ("cpo/serverkeygen", b"", 404),
        ("nowhere/simpleenroll", b"", 404),
    ):
        assert (await _sent(lab, "POST", path, body)).status == status, path
    weak = read_csr(make_request(ec.generate_private_key(ec.SECP256R1()), Role.SECC, Subject(common_name=SECC_ID)))
    with pytest.raises(RefusedError, match="secp256r1"):
        await lab.client().enrol(weak, NEW)
    assert len(lab.tree.index().entries) == before
    assert read_certificates((await _sent(lab, "GET", "cacerts", None)).body)
