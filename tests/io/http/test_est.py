"""The EST client against answers of a CA that errs, lies or is not there (R217)."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pki_tools.authority import load_issuer
from pki_tools.issuing import make_request
from pki_tools.tree import PkiTree
from tests.together import together
from tests.web_server import server_tls, serving
from v2g.errors import (
    CertificateError,
    ConfigError,
    KeyAccessError,
    RefusedError,
    TransferError,
    TransportError,
    V2GError,
)
from v2g.io.http.est import EnrolmentPending, EstClient
from v2g.io.http.known_client import EstServer, OauthClient
from v2g.io.runtime.clock import Clock
from v2g.pki.est import MOST_BYTES, read_csr, write_certificates
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import save_secret
from v2g.pki.profile import Generation, Role

NEW = Generation.ISO15118_20


class Ca:
    """A server whose answers a test chooses, and what it was sent."""

    def __init__(self, pki: PkiTree, folder: Path) -> None:
        self.pki, self.folder, self.port = pki, folder, 0
        self.enrols = self.shows = web.Response(status=404)
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.authorizations: list[str] = []
        self.tokens: list[str] = []
        self.pause_s = 0.0

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        if request.path == "/oauth/token":
            self.bodies.append(await request.read())
            return web.json_response({"access_token": self.tokens.pop(0), "expires_in": 600})
        self.authorizations.append(request.headers.get("Authorization", ""))
        self.bodies.append(await request.read())
        await asyncio.sleep(self.pause_s)
        given = self.enrols if request.method == "POST" else self.shows
        return web.Response(status=given.status, headers=given.headers, body=given.body)

    def says(self, certificates: list[x509.Certificate], status: int = 200) -> None:
        self.enrols = web.Response(status=status, body=write_certificates(certificates))

    def client(self, **changes: object) -> EstClient:
        options = {"url": f"https://localhost:{self.port}/.well-known/est", "root": self.pki.path("csms/root.pem")}
        return EstClient(EstServer(**(options | changes)), Clock())  # type: ignore[arg-type]

    async def verdict(self, csr: x509.CertificateSigningRequest, **options: object) -> str:
        """What the client makes of the answer: the length of the chain, or why it refuses."""
        given = {"roots": self.pki.anchors("v2g"), "role": Role.SECC, "generation": NEW} | options
        try:
            found = await self.client().chain(csr, **given)  # type: ignore[arg-type]
        except (CertificateError, RefusedError) as error:
            return error.reason
        except TransportError:
            return "later"
        return f"pending {found.pause_s:g}" if isinstance(found, EnrolmentPending) else str(len(found.certificates))


@pytest_asyncio.fixture
async def ca(pki: PkiTree, tmp_path: Path) -> AsyncIterator[Ca]:
    found = Ca(pki, tmp_path)
    async with serving(found.answer, server_tls(pki)) as found.port:
        yield found


@pytest.fixture(scope="module")
def whole(pki: PkiTree) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in pki.chain("secc")]


@pytest.fixture(scope="module")
def csr(pki: PkiTree, whole: list[x509.Certificate]) -> x509.CertificateSigningRequest:
    key = load_pem_private_key(pki.path("secc/leaf.key").read_bytes(), None)
    name = str(whole[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    return read_csr(make_request(key, Role.SECC, Subject(common_name=name)))  # type: ignore[arg-type]


async def test_the_chain_comes_whole_or_with_cacerts(
    ca: Ca, whole: list[x509.Certificate], csr: x509.CertificateSigningRequest
) -> None:
    ca.says(whole)
    assert await ca.verdict(csr) == "3"
    assert base64.b64decode(ca.bodies[0], validate=True) == csr.public_bytes(Encoding.DER)
    ca.says(whole[:1])
    ca.shows = web.Response(body=write_certificates(whole[1:]))
    assert await ca.verdict(csr) == "3"
    assert ca.paths[-2:] == ["/.well-known/est/simpleenroll", "/.well-known/est/cacerts"]
    client = ca.client(enrol="cpo/simpleenroll/{iso}", cacerts="cpo/cacerts/{iso}/{curve}/")
    await client.enrol(csr, Generation.ISO15118_2)
    await client.cacerts(csr, NEW)
    assert ca.paths[-2:] == [
        "/.well-known/est/cpo/simpleenroll/ISO15118-2", "/.well-known/est/cpo/cacerts/ISO15118-20/secp521r1/",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "headers", "body", "verdict"),
    [
        (202, {"Retry-After": "7"}, b"", "pending 7"),
        (202, {}, b"waits", "pending 60"),
        (200, {}, b"", "malformed"),
        (200, {"Content-Type": "text/html"}, b"<html><script>alert(1)</script></html>", "malformed"),
        (200, {}, b"MIIB", "malformed"),
        (200, {}, b"\x30\x82\xff\xff", "malformed"),
        (200, {}, b"-----BEGIN PKCS7-----\nMIIB\n-----END PKCS7-----\n", "malformed"),
        (200, {}, b"A" * (MOST_BYTES + 10), "later"),
        (204, {}, b"", "refused"),
        (301, {"Location": "https://elsewhere.invalid/"}, b"", "refused"),
        (400, {}, b"\x1b[31mCN unknown\x07", "refused"),
        (401, {}, b"", "refused"),
        (403, {}, b"", "refused"),
        (404, {}, b"", "refused"),
        (415, {}, b"", "refused"),
        (429, {"Retry-After": "9"}, b"", "pending 9"),
        (503, {"Retry-After": "7200"}, b"", "pending 7200"),
        (500, {"Retry-After": "9"}, b"", "later"),
        (500, {}, b"", "later"),
        (503, {}, b"", "later"),
    ],
)
async def test_a_ca_that_errs_is_refused_or_asked_later(
    ca: Ca, csr: x509.CertificateSigningRequest, status: int, headers: dict[str, str], body: bytes, verdict: str
) -> None:
    ca.enrols = web.Response(status=status, headers=headers, body=body)
    assert await ca.verdict(csr) == verdict


def _issued(pki: PkiTree, csr: x509.CertificateSigningRequest, **changes: object) -> x509.Certificate:
    """What the tree's CA would issue for a request if it were to err."""
    index = pki.index()
    issuer = load_issuer(pki.directory, index.find(str(changes.pop("by", "cpo/sub2"))))
    assert isinstance(issuer, Issuer)
    assert issuer.certificate is not None
    begin = issuer.certificate.not_valid_before_utc
    options: dict[str, object] = {
        "role": Role.SECC, "public_key": csr.public_key(), "serial": 4711 << 100, "not_before": begin,
        "generation": NEW,
        "ocsp_url": "http://pki.invalid/cpo",
    }  # fmt: skip
    return issue(IssueRequest(**(options | changes)), issuer)  # type: ignore[arg-type]


async def test_a_ca_that_lies_is_refused_with_the_reason(
    ca: Ca, pki: PkiTree, whole: list[x509.Certificate], csr: x509.CertificateSigningRequest
) -> None:
    stranger = ec.generate_private_key(ec.SECP521R1()).public_key()
    name = str(whole[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    subject = Subject(common_name=name, organization="O", country="DE")
    above = whole[1:]
    begin = above[0].not_valid_before_utc
    lies = {
        "good": ([_issued(pki, csr, subject=subject), *above], "3"),
        "another key": ([_issued(pki, csr, subject=subject, public_key=stranger), *above], "wrong_key"),
        "another name": (
            [_issued(pki, csr, subject=Subject(common_name=name[:-1] + "9", organization="O")), *above],
            "wrong_subject",
        ),
        "another role": (
            [_issued(pki, csr, subject=subject, role=Role.METER), *above],
            "bad_profile|wrong_domain|key_usage|extended_key_usage|wrong_subject",
        ),
        "expired": ([_issued(pki, csr, subject=subject, not_after=begin + timedelta(minutes=1)), *above], "expired"),
        "sub-CA lacks": ([_issued(pki, csr, subject=subject), above[0]], "unknown_root"),
        "other hierarchy": ([_issued(pki, csr, subject=subject, by="oem/sub2"), *above], "unknown_root"),
        "only authorities": (above, "wrong_key"),
        "another's whole chain": ([x509.load_der_x509_certificate(der) for der in pki.chain("contract")], "wrong_key"),
    }
    ca.shows = web.Response(body=write_certificates([x509.load_der_x509_certificate(pki.anchors("oem")[0])]))
    for lie, (certificates, verdict) in lies.items():
        ca.says(certificates)
        assert await ca.verdict(csr) in verdict.split("|"), lie


async def test_no_secret_reaches_a_server_that_is_not_the_configured_one(
    ca: Ca, csr: x509.CertificateSigningRequest
) -> None:
    save_secret(ca.folder / "password", b"a secret\n")
    known = {"user": "lab", "password_file": ca.folder / "password"}
    with pytest.raises(TransferError):
        await ca.client(root=ca.pki.path("v2g/root.pem"), **known).enrol(csr, NEW)
    with pytest.raises(TransferError):
        await ca.client(url=f"https://127.0.0.2:{ca.port}/", **known).enrol(csr, NEW)
    assert ca.authorizations == []
    with pytest.raises(RefusedError):
        await ca.client(**known).enrol(csr, NEW)
    assert ca.authorizations == [f"Basic {base64.b64encode(b'lab:a secret').decode()}"]


async def test_a_token_is_asked_for_once_and_anew_when_it_is_refused(
    ca: Ca, csr: x509.CertificateSigningRequest
) -> None:
    save_secret(ca.folder / "secret", b"c-secret")
    ca.tokens = ["first", "second"]
    oauth = OauthClient(
        url=f"https://localhost:{ca.port}/oauth/token",
        client_id="cpo",
        client_secret_file=ca.folder / "secret",
        audience="urn:est",
    )
    client = ca.client(oauth=oauth)
    ca.enrols = web.Response(status=202)
    for _ in range(2):
        await client.enrol(csr, NEW)
    assert ca.authorizations == ["Bearer first"] * 2
    assert json.loads(ca.bodies[0]) == {
        "grant_type": "client_credentials", "client_id": "cpo", "client_secret": "c-secret", "audience": "urn:est",
    }  # fmt: skip
    ca.enrols = web.Response(status=401)
    with pytest.raises(RefusedError, match="401"):
        await client.enrol(csr, NEW)
    assert ca.authorizations[2:] == ["Bearer first", "Bearer second"]


async def test_what_a_ca_says_is_shown_without_control_characters(ca: Ca, csr: x509.CertificateSigningRequest) -> None:
    ca.enrols = web.Response(status=400, body=b"\x1b[31mCN unknown\x07")
    with pytest.raises(RefusedError) as refused:
        await ca.client().enrol(csr, NEW)
    assert "CN unknown" in str(refused.value)
    assert not {"\x1b", "\x07"} & set(str(refused.value))
    assert "registered" in refused.value.hint


def test_a_client_without_its_files_is_refused(ca: Ca) -> None:
    for changes in ({"user": "lab"}, {"root": ca.folder / "none.pem"}, {"certificate": ca.folder / "none.pem"}):
        with pytest.raises(V2GError) as refused:
            ca.client(**changes)
        assert isinstance(refused.value, ConfigError | KeyAccessError)


@together(
    ("url", "good"),
    [
        ("https://est.example", True),
        ("https://est.example:8443/.well-known/est/cpo@x?y=z", True),
        ("https://user:word@est.example/est", False),
        ("https://est.example?x", False),
        ("https:///est", False),
        ("http://est.example/est", False),
    ],
)
def test_the_url_of_a_server_is_of_https_and_has_no_password(url: str, good: bool) -> None:
    """Events and errors show it."""
    if good:
        assert msgspec.convert({"url": url}, EstServer).url == url
    else:
        with pytest.raises(msgspec.ValidationError, match="url"):
            msgspec.convert({"url": url}, EstServer)


@pytest.mark.parametrize("secret", [b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_readable_secret_is_named(ca: Ca, secret: bytes) -> None:
    file = ca.folder / "unreadable.password"
    save_secret(file, secret)
    oauth = OauthClient(url="https://est.example/token", client_id="me", client_secret_file=file)
    for how in (
        EstServer(url="https://est.example", user="me", password_file=file),
        EstServer(url="https://est.example", oauth=oauth),
    ):
        with pytest.raises(KeyAccessError, match=r"unreadable\.password has no text"):
            EstClient(how, Clock())
