"""Trust lists: fetched from a pool, verified, and brought to stations, new roots before old ones go (R217)."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from csms.config import TrustListSource
from csms.trust import store as rows
from csms.trust.work import TrustLists
from pki_tools.authority import load_issuer, new_key
from pki_tools.issuing import CertificateOrder, issue_certificate, make_request
from pki_tools.layout import SIGNERS
from pki_tools.renewal import Renewal, renew_certificate, revoke_certificate
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.fixtures import Start, backend
from tests.csms.scripted_station import ScriptedStation
from tests.pki_tools.conftest import tree
from tests.pki_tools.pool_lab import PoolLab
from v2g.errors import CertificateError, CodecError, RefusedError
from v2g.pki.certificates import CLOCK_SKEW, chain_from_pem, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.csr import load_csr
from v2g.pki.issue import Issuer, Subject
from v2g.pki.keys import load_private_key, save_secret
from v2g.pki.ocsp import ocsp_request_data
from v2g.pki.pools import PoolRoot, RootKind, encode_base64, event_signature
from v2g.pki.profile import KeyKind, Role
from v2g.pki.trust_list import TrustList, read_trust_list, write_trust_list

__all__ = ["backend", "tree"]


class RootStore:
    """What a station has installed, by use and certificate."""

    def __init__(self, station: ScriptedStation, refuses: str = "") -> None:
        self.found: list[tuple[str, bytes]] = []
        self.refuses = refuses
        self.order: list[str] = []
        station.answers |= {
            "GetInstalledCertificateIds": self.listed,
            "InstallCertificate": self.install,
            "DeleteCertificate": self.delete,
        }

    def listed(self, _: Any) -> Any:
        chains = [{"certificateType": use, "certificateHashData": hashes(der)} for use, der in self.found]
        return {"status": "Accepted", "certificateHashDataChain": chains} if chains else {"status": "NotFound"}

    def install(self, asked: Any) -> Any:
        self.order.append("install")
        if asked["certificateType"] == self.refuses:
            return {"status": "Rejected"}
        self.found.append((asked["certificateType"], chain_from_pem(asked["certificate"].encode())[0]))
        return {"status": "Accepted"}

    def delete(self, asked: Any) -> Any:
        self.order.append("delete")
        self.found = [each for each in self.found if hashes(each[1]) != asked["certificateHashData"]]
        return {"status": "Accepted"}


def hashes(der: bytes) -> dict[str, str]:
    certificate = load_certificate(der)
    data = ocsp_request_data(certificate, certificate, "SHA256")
    return {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": data.issuer_name_hash,
        "issuerKeyHash": data.issuer_key_hash,
        "serialNumber": data.serial_number,
    }


@pytest_asyncio.fixture
async def lab(tree: PkiTree, tmp_path: Path) -> AsyncIterator[PoolLab]:
    found = PoolLab(tree, tmp_path)
    await found.start()
    yield found
    await found.stop()


def source(lab: PoolLab, **more: Any) -> TrustListSource:
    return TrustListSource(server=lab.server(), roots=(lab.tree.path("csms/root.pem"),), **more)


async def look(csms: Backend, later_s: float = 0.0) -> None:
    csms.clock.advance(later_s)
    await csms.services[TrustLists].look(csms.services)


async def states(ask: ApiClient) -> dict[str, tuple[str, str]]:
    items = (await ask("GET", "/trust/rollouts")).json
    return {each["station_id"]: (each["state"], each["detail"]) for each in items}


@contextlib.asynccontextmanager
async def running(
    backend: Start, lab: PoolLab, trust: Any = None, **more: Any
) -> AsyncIterator[tuple[Backend, ApiClient]]:
    options = {} if trust is None else {"trust": trust}
    async with backend(trust_list=source(lab, **more), **options) as csms, serving(csms) as ask:
        yield csms, ask


@pytest.mark.requirement("R217")
async def test_stations_get_the_roots_of_the_list_and_lose_removed_ones_only_by_order(
    backend: Start, lab: PoolLab
) -> None:
    async with running(backend, lab) as (csms, ask):
        new = RootStore(await csms.booted("CS-V2G-0001", "2.1"))
        old = RootStore(await csms.booted("CS-V2G-0002"))
        own = ("V2GRootCertificate", lab.tree.anchors("csms")[0])  # of nobody's list
        old.found += [own, ("V2GRootCertificate", lab.tree.anchors("v2g")[0])]
        assert (await ask("POST", "/trust/rollouts", {})).status == 409, "there is no list yet"
        assert (await ask("POST", "/trust/list/fetch")).json["list_number"] == 3
        assert (await ask("POST", "/trust/rollouts", {})).json == {"list_number": 3, "stations": 2}
        await look(csms)
        assert {use for use, _ in new.found} == {"V2GRootCertificate", "MORootCertificate", "OEMRootCertificate"}
        assert [use for use, _ in old.found] == ["V2GRootCertificate", "V2GRootCertificate", "MORootCertificate"]
        assert await states(ask) == {
            "CS-V2G-0001": ("Done", "3 installed, 0 deleted"),
            "CS-V2G-0002": ("Done", "1 installed, 0 deleted"),
        }
        mo = next(each for each in await lab.client().roots() if each.kinds == ("MO",))
        await delete_root(lab, mo)
        assert (await ask("POST", "/trust/list/fetch")).json["list_number"] == 4
        await ask("POST", "/trust/rollouts", {"station_ids": ["CS-V2G-0002"]})
        await look(csms)
        assert len(old.found) == 3, "nothing is deleted silently"
        await ask("POST", "/trust/rollouts", {"station_ids": ["CS-V2G-0002"], "removes": True})
        await look(csms)
        assert old.found == [own, ("V2GRootCertificate", lab.tree.anchors("v2g")[0])]
        assert len(new.found) == 3
        listed = (await ask("GET", "/trust/roots")).json
        assert {each["kinds"]: each["removed_ms"] is not None for each in listed} == {
            "V2G": False, "MO": True, "OEM": False,
        }  # fmt: skip


async def delete_root(lab: PoolLab, root: PoolRoot) -> None:
    (file,) = lab.tree.path("pools/roots").glob(f"{root.fingerprint[:32]}-*")
    file.unlink()
    number = lab.tree.path("pools/list")
    number.write_text(str(int(number.read_text()) + 1))


async def test_a_root_is_rolled_over_new_first(backend: Start, lab: PoolLab) -> None:
    """A station that refuses the new root keeps the old one; one that is away gets both when it is back."""
    async with running(backend, lab) as (csms, ask):
        station = await csms.booted("CS-V2G-0001")
        good, bad = RootStore(station), RootStore(await csms.booted("CS-V2G-0002"), refuses="V2GRootCertificate")
        before = lab.tree.anchors("v2g")[0]
        for each in (good, bad):
            each.found.append(("V2GRootCertificate", before))
        await ask("POST", "/trust/list/fetch")
        renew_certificate(lab.tree.directory, "v2g/root", Renewal(), at=datetime.now(UTC))
        after = lab.tree.anchors("v2g")[0]
        old = next(each for each in await lab.client().roots() if each.kinds == ("V2G",))
        assert lab.service is not None
        await lab.service.add_root(PoolRoot(kinds=("V2G",), certificate=after))
        await delete_root(lab, old)
        await ask("POST", "/trust/list/fetch")
        await csms.leave(station)
        await ask("POST", "/trust/rollouts", {"removes": True})
        await look(csms)
        assert [der for use, der in bad.found if use == "V2GRootCertificate"] == [before]
        assert (await states(ask))["CS-V2G-0002"][0] == "Failed"
        assert (await states(ask))["CS-V2G-0001"][0] == "Waiting"
        again = RootStore(await csms.booted("CS-V2G-0001"))
        again.found = good.found
        await look(csms)
        assert [der for use, der in again.found if use == "V2GRootCertificate"] == [after]
        assert again.order.index("install") < again.order.index("delete")
        assert (await states(ask))["CS-V2G-0001"] == ("Done", "2 installed, 1 deleted")


async def test_a_signed_event_has_the_list_fetched_and_any_other_one_does_nothing(
    backend: Start, lab: PoolLab, tmp_path: Path
) -> None:
    save_secret(tmp_path / "event.secret", b"of this endpoint")
    async with running(backend, lab, secret_file=tmp_path / "event.secret") as (_, ask):

        async def tell(body: Any, signature: str | None = None) -> int:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            signed = event_signature("of this endpoint", content) if signature is None else signature
            return (await ask("POST", "/trust/events", content, role=None, x_operator_signature=signed)).status

        event = {"eventId": "1", "eventType": "root.cert.added", "payload": {"rootCertificateId": "x"}}
        for signature in ("", "sha256=00", event_signature("another", msgspec.json.encode(event))):
            assert await tell(event, signature) == 403
        assert await tell(b"rubbish") == 400
        assert await tell({**event, "eventType": "oem.contract.created"}) == 204
        assert (await ask("GET", "/trust/list")).json["list_number"] == 0
        assert [await tell(event), await tell(event)] == [204, 204]
        assert (await ask("GET", "/trust/list")).json["list_number"] == 3


async def test_no_event_is_taken_without_a_secret(backend: Start, lab: PoolLab) -> None:
    async with running(backend, lab) as (_, ask):
        signed = event_signature("", b"{}")
        assert (await ask("POST", "/trust/events", b"{}", role=None, x_operator_signature=signed)).status == 409
    async with backend() as csms, serving(csms) as ask:
        assert (await ask("POST", "/trust/events", b"{}", role=None)).status == 409
        assert (await ask("POST", "/trust/list/fetch")).status == 409


async def test_what_is_known_stays_when_a_list_is_refused(backend: Start, lab: PoolLab) -> None:
    async with running(backend, lab) as (csms, ask):
        await ask("POST", "/trust/list/fetch")
        lab.tree.path("pools/list").write_text("2")
        refused = await ask("POST", "/trust/list/fetch")
        assert (refused.status, refused.json["code"]) == (502, "trust_list")
        csms.clock.advance(8 * 86_400)
        assert "certificate" not in (await ask("GET", "/trust/list")).json["problem"]
        assert "replayed: list 2 is older than 3" in (await ask("GET", "/trust/list")).json["problem"]
        await lab.stop()
        assert (await ask("POST", "/trust/list/fetch")).status == 502
        assert (await ask("GET", "/trust/list")).json["list_number"] == 3
        assert [len(each.data["problem"]) > 0 for each in csms.events.named("trust_list_refused")] == [True, True]


async def test_an_ecosystem_that_does_not_answer_is_asked_again_after_minutes(backend: Start, lab: PoolLab) -> None:
    """Neither at each look nor a whole interval later, before and after the first list."""
    async with running(backend, lab) as (csms, ask):
        lists = csms.services[TrustLists]

        async def refused(later_s: float) -> int:
            csms.clock.advance(later_s)
            await lists.fetch_if_due(csms.services)
            return len(list(csms.events.named("trust_list_refused")))

        await lab.stop()
        assert [await refused(10) for _ in range(3)] == [1, 1, 1]
        assert [await refused(300), await refused(299)] == [2, 2]
        await lab.start()
        assert await refused(1) == 2
        assert (await ask("GET", "/trust/list")).json["list_number"] == 3
        await lab.stop()
        assert [await refused(5 * 3600), await refused(3600), await refused(10), await refused(300)] == [2, 3, 3, 4]


async def test_a_list_is_refused_whose_signer_is_revoked(backend: Start, lab: PoolLab) -> None:
    await lab.client().trust_list()  # which has a signer by now
    issuer = lab.tree.index().find(SIGNERS[Role.TRUST_LIST] or "").file
    crls = (lab.tree.path(issuer).with_suffix(".crl"),)
    trust = {"roots": (lab.tree.path("v2g/root.pem"),), "crls": crls}
    for revoked in (False, True):
        if revoked:
            revoke_certificate(lab.tree.directory, name="pools/signer", at=datetime.now(UTC))
        async with running(backend, lab, trust) as (_, ask):
            answer = await ask("POST", "/trust/list/fetch")
            assert answer.status == (502 if revoked else 200)
            assert ("revoked: " in (await ask("GET", "/trust/list")).json["problem"]) == revoked


async def test_no_station_is_brought_to_a_list_that_has_expired(backend: Start, lab: PoolLab) -> None:
    async with running(backend, lab) as (csms, ask):
        await csms.booted("CS-V2G-0001")
        await ask("POST", "/trust/list/fetch")
        csms.clock.advance(7 * 86_400 + 60)
        refused = await ask("POST", "/trust/rollouts", {"removes": True})
        assert (refused.status, refused.json["code"]) == (409, "expired")


async def test_a_slower_older_list_does_not_undo_a_newer_one_and_kinds_are_kept_up_to_date(
    backend: Start, lab: PoolLab
) -> None:
    der, until = lab.tree.anchors("v2g")[0], datetime.now(UTC) + timedelta(days=1)

    def listed(number: int, *kinds: RootKind) -> TrustList:
        return TrustList(number=number, until=until, roots=(PoolRoot(kinds=kinds, certificate=der),))

    async with running(backend, lab) as (csms, ask):
        store = csms.services.store
        key = listed(1, "V2G").roots[0].fingerprint
        changes = [
            await store.run(rows.take, each, 0)
            for each in (listed(2, "V2G", "MO"), listed(1, "OEM"), listed(3, "V2G"), listed(3, "V2G"))
        ]
        assert changes == [([key], []), ([], []), ([key], []), ([], [])]
        (root,) = (await ask("GET", "/trust/roots")).json
        assert (root["kinds"], (await ask("GET", "/trust/list")).json["list_number"]) == ("V2G", 3)


NOW = datetime.now(UTC).replace(microsecond=0)
AT = NOW + timedelta(seconds=1)


def hostile(tree: PkiTree) -> dict[str, tuple[bytes, str]]:
    """Lists that are refused, with the reason."""
    signer = new_key(KeyKind.SECP256R1, Role.TRUST_LIST)
    csr = load_csr(make_request(signer, Role.TRUST_LIST, Subject(common_name="list")))
    order = CertificateOrder(role=Role.TRUST_LIST, name="list", common_name="list", request=csr)
    issue_certificate(tree.directory, order, at=NOW)
    good = Issuer(load_certificate(load_chain(tree.path("list/leaf.pem"))[0]), signer)
    leaf = load_certificate(tree.chain("csms/station")[0])
    station = Issuer(leaf, load_private_key(tree.path("csms/station/leaf.key")))
    root = load_issuer(tree.directory, tree.index().find("v2g/root"))
    roots = [PoolRoot(kinds=("V2G",), certificate=tree.anchors("v2g")[0])]
    day, second = timedelta(days=1), timedelta(seconds=1)

    def made(signer: Issuer = good, issued: datetime = NOW, until: datetime = NOW + day, **change: Any) -> bytes:
        told: Any = write_trust_list(change.pop("number", 7), issued, until, change.pop("roots", roots), signer)
        told["CTL"] |= change.pop("ctl", {})
        return msgspec.json.encode(told | change)

    return {
        "good": (made(), "good"),
        "not JSON": (b"<html>", "CodecError"),
        "no list": (made(CTL=None), "CodecError"),
        "no signer": (made(signerCertificate=""), "malformed"),
        "a root itself": (made(root), "unknown_root"),
        "signed by a station": (made(station), "extended_key_usage"),
        "another signature": (made(ctl={"signature": encode_base64(b"0" * 70)}), "bad_signature"),
        "changed list": (made(ctl={"list": encode_base64(b"{}")}), "bad_signature"),
        "of the future": (made(issued=NOW + 2 * day, until=NOW + 3 * day), "not_yet_valid"),
        "expired": (made(issued=NOW - 9 * day, until=NOW - day), "expired"),
        "older": (made(number=4), "replayed"),
        "of the future, beyond what clocks differ": (made(issued=AT + CLOCK_SKEW + second), "not_yet_valid"),
        "as far ahead as clocks differ": (made(issued=AT + CLOCK_SKEW), "good"),
        "expired a second ago": (made(until=AT - second), "expired"),
        "until now": (made(until=AT), "good"),
        "the one that is known": (made(number=5), "good"),
        "without roots": (made(roots=[]), "empty"),
        "a root that is none": (made(roots=[PoolRoot(kinds=("MO",), certificate=b"x")]), "malformed"),
        "issued without time zone": (made(issued=NOW.replace(tzinfo=None)), "CodecError"),
        "until without time zone": (made(until=NOW.replace(tzinfo=None)), "CodecError"),
        "signed, and no list": (made(number=0), "CodecError"),
    }


def test_only_a_current_list_signed_under_a_configured_root_counts(tree: PkiTree) -> None:
    for name, (body, reason) in hostile(tree).items():
        said = "good"
        try:
            found = read_trust_list(body, tree.anchors("csms"), at=AT, newest=5)
        except (CodecError, CertificateError, RefusedError) as error:
            said = getattr(error, "reason", "CodecError")
        else:
            assert (found.number, len(found.roots)) == (5 if name == "the one that is known" else 7, 1)
        assert said == reason, name
