"""Chargers and gateways that get and renew their own certificates by EST (R217)."""

import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pki_tools.est import EstSettings, decide, waiting
from pki_tools.tree import PkiTree
from tests.csms.backend import TestClock
from tests.pki_tools.conftest import tree
from tests.pki_tools.est_lab import SECC_ID, Lab
from tests.web_server import server_tls, serving
from v2g.io.http.known_client import EstServer, SelfEnrolmentConfig
from v2g.io.http.self_enrolment import SelfEnrolment
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_credentials
from v2g.pki.keys import load_private_key, save_key
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

__all__ = ["tree"]  # a fixture

USERS = EstSettings(users={"lab": "a secret"})
DAY_S = 86_400


@pytest_asyncio.fixture
async def lab(tree: PkiTree, tmp_path: Path) -> AsyncIterator[Lab]:
    found = Lab(tree, tmp_path)
    await found.start(USERS)
    yield found
    await found.stop()


class Holder:
    """A program whose certificate this is; `again` is the program after a restart."""

    def __init__(
        self, lab: Lab, role: Role = Role.SECC, files: tuple[Path, Path] | None = None, **changes: Any
    ) -> None:
        self.lab, self.role = lab, role
        self.chain, self.key = files or (lab.folder / "own.pem", lab.folder / "own.key")
        root = lab.tree.path("v2g/root.pem" if role is Role.SECC else "csms/root.pem")
        options = {"est": lab.server(), "roots": (root,), "common_name": SECC_ID} | changes
        self.config = SelfEnrolmentConfig(**options)  # type: ignore[arg-type]
        self.clock = TestClock(int(datetime.now(UTC).timestamp() * 1000))
        self.events: list[Observe] = []
        self.again()

    def again(self) -> None:
        self.enrolment = SelfEnrolment(self.config, self.chain, self.key, self.role, self.clock, self.events.append)

    @property
    def leaf(self) -> x509.Certificate:
        return load_certificate(load_credentials(self.chain, self.key).leaf)

    @property
    def said(self) -> list[str]:
        return [each.name for each in self.events]


def issued(lab: Lab) -> int:
    return len([each for each in lab.tree.index().entries if each.name.startswith("est/")])


@pytest.mark.requirement("R217")
async def test_a_charger_gets_its_certificate_and_renews_it_in_time(lab: Lab) -> None:
    """It is for servers only, and cannot be shown to the CA: each is a new one, by password."""
    holder = Holder(lab)
    await holder.enrolment.first()
    first = holder.leaf
    chain = load_credentials(holder.chain, holder.key).chain
    verify_chain(chain[0], chain[1:], lab.tree.anchors("v2g"), role=Role.SECC, at=holder.clock.now())
    assert holder.key.stat().st_mode & 0o777 == 0o600
    assert await holder.enrolment.look() == 3600
    assert (holder.leaf, holder.said) == (first, ["enrolled"])
    holder.clock.advance(39 * DAY_S)  # of 60
    await holder.enrolment.look()
    assert holder.leaf == first
    holder.clock.advance(2 * DAY_S)
    await holder.enrolment.look()
    assert (holder.leaf.subject, holder.said) == (first.subject, ["enrolled", "enrolled"])
    assert holder.leaf.public_key() != first.public_key()
    assert sorted(each.name for each in holder.chain.parent.glob("own*")) == ["own.key", "own.pem"]


async def test_an_undecided_request_is_repeated_over_restarts_and_buys_one_certificate(lab: Lab) -> None:
    await lab.start(EstSettings(users=USERS.users, approve=True))
    holder = Holder(lab)
    for _ in range(3):
        assert await holder.enrolment.look() == 30
        holder.again()
    assert not holder.chain.exists()
    ((number, _),) = waiting(lab.tree.directory)
    decide(lab.tree.directory, number, approve=True)
    await holder.enrolment.look()
    assert holder.leaf.not_valid_after_utc > holder.clock.now()
    assert (issued(lab), holder.said) == (1, ["enrolment_pending"] * 3 + ["enrolled"])


async def test_a_gateway_renews_by_the_certificate_that_it_has(lab: Lab) -> None:
    files = lab.tree.path("csms/gateway/chain.pem"), lab.tree.path("csms/gateway/leaf.key")
    own = {"certificate": files[0], "key": files[1]}
    holder = Holder(
        lab, Role.GATEWAY, files, est=lab.server("/gateway", "", **own), common_name="ev-0001", before_days=365
    )
    first = holder.leaf
    holder.clock.advance(500 * DAY_S)  # two thirds are over
    await holder.enrolment.look()
    assert holder.said == ["enrolled"], [each.data for each in holder.events]
    assert (holder.leaf.subject, holder.leaf.serial_number != first.serial_number) == (first.subject, True)


async def test_a_charger_that_shows_the_stations_certificate_gets_new_ones(lab: Lab) -> None:
    """Only the holder of a certificate could renew it, and a server's cannot be shown."""
    station = {"certificate": lab.tree.path("csms/station/chain.pem"), "key": lab.tree.path("csms/station/leaf.key")}
    holder = Holder(lab, est=lab.server("/cpo", "", **station))
    await holder.enrolment.first()
    first = holder.leaf
    holder.clock.advance(50 * DAY_S)
    await holder.enrolment.look()
    assert holder.said == ["enrolled", "enrolled"], [each.data for each in holder.events]
    assert (holder.leaf.subject, holder.leaf != first) == (first.subject, True)


@pytest.mark.parametrize(
    "change",
    [
        lambda lab: {"est": lab.server(user="nobody")},
        lambda lab: {"est": lab.server("/oem")},
        lambda lab: {"roots": (lab.tree.path("oem/root.pem"),)},
        lambda lab: {"est": lab.server(enrol="nowhere")},
    ],
)
async def test_what_does_not_fit_is_refused_and_the_old_certificate_stays(
    lab: Lab, change: Callable[[Lab], dict[str, Any]]
) -> None:
    good = Holder(lab)
    await good.enrolment.first()
    before = good.chain.read_bytes(), good.key.read_bytes()
    bad = Holder(lab, **change(lab))
    bad.clock.advance(50 * DAY_S)
    assert await bad.enrolment.look() == 3600
    assert bad.said == ["enrolment_failed"]
    assert bad.events[0].data["error"]
    assert (good.chain.read_bytes(), good.key.read_bytes()) == before
    await lab.stop()
    await bad.enrolment.look()
    assert (bad.said[-1], good.leaf.serial_number > 0) == ("enrolment_failed", True)


async def test_a_stop_between_the_two_files_is_mended_at_the_next_start(lab: Lab) -> None:
    holder = Holder(lab)
    await holder.enrolment.first()
    old = holder.key.read_bytes()
    holder.clock.advance(50 * DAY_S)
    await holder.enrolment.look()
    newest = load_private_key(holder.key)
    save_key(holder.key.with_name("own.key.new"), newest)
    holder.key.write_bytes(old)  # as if the new key were not yet in its place
    holder.again()
    holder.clock.advance(-50 * DAY_S)
    await holder.enrolment.first()
    assert holder.leaf.public_key() == newest.public_key()
    assert not holder.key.with_name("own.key.new").exists()


async def test_a_stop_within_the_first_enrolment_is_mended_without_the_ca(lab: Lab) -> None:
    holder = Holder(lab)
    await holder.enrolment.first()
    holder.key.replace(holder.key.with_name("own.key.new"))
    await lab.stop()
    holder.again()
    await holder.enrolment.first()
    assert holder.leaf.not_valid_after_utc > holder.clock.now()
    assert (holder.said, issued(lab)) == (["enrolled"], 1)


async def test_a_key_of_a_request_does_not_replace_the_key_of_another_certificate(lab: Lab, tmp_path: Path) -> None:
    """A chain that a person has put there without its key is reported; both keys stay."""
    holder = Holder(lab)
    await holder.enrolment.first()
    other = Holder(lab, files=(tmp_path / "other.pem", tmp_path / "other.key"))
    await other.enrolment.first()
    holder.chain.write_bytes(other.chain.read_bytes())
    waiting = holder.key.with_name("own.key.new")
    save_key(waiting, load_private_key(lab.tree.path("secc/leaf.key")))
    before = holder.key.read_bytes(), waiting.read_bytes()
    await holder.enrolment.look()
    assert holder.said == ["enrolled", "enrolment_failed"]
    assert (holder.key.read_bytes(), waiting.read_bytes()) == before


async def test_a_chain_without_key_does_not_make_the_program_ask_without_pause(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Holder(lab)
    await holder.enrolment.first()
    holder.key.unlink()
    await lab.stop()
    pauses: list[float] = []
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(lab.folder / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(lab.folder / "notify"))

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        raise TimeoutError

    monkeypatch.setattr("v2g.io.http.self_enrolment.asyncio.sleep", sleep)
    with pytest.raises(TimeoutError):
        await holder.enrolment.first()
    assert (pauses, holder.said) == ([3600], ["enrolled", "enrolment_lacks", "enrolment_failed"])
    with manager:
        extended = manager.recv(100, socket.MSG_DONTWAIT).decode()
    assert int(extended.removeprefix("EXTEND_TIMEOUT_USEC=")) > pauses[0] * 1_000_000, "systemd waits as long"


async def test_a_name_that_the_ca_refuses_can_be_corrected(lab: Lab) -> None:
    await lab.start(EstSettings(users=USERS.users, approve=True))
    wrong = Holder(lab, common_name="DE-V2G-wrong")
    await wrong.enrolment.look()
    ((number, _),) = waiting(lab.tree.directory)
    decide(lab.tree.directory, number, approve=False)
    await wrong.enrolment.look()
    assert wrong.said == ["enrolment_pending", "enrolment_failed"]
    right = Holder(lab)
    for _ in range(2):
        await right.enrolment.look()
    ((number, subject),) = waiting(lab.tree.directory)
    assert SECC_ID in subject
    decide(lab.tree.directory, number, approve=True)
    await right.enrolment.look()
    assert (issued(lab), right.said[-1], right.leaf.not_valid_after_utc > right.clock.now()) == (1, "enrolled", True)


RFC_7030 = b"MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJ\nBgcrBgEBAQEWBggqhkjOPQQDAw=="  # 4.5.2


@pytest.mark.parametrize(
    ("answer", "role", "curve", "digest", "lacks"),
    [
        ((200, RFC_7030), Role.STATION, "secp384r1", "sha384", "challengePassword, 1.3.6.1.1.1.1.22"),
        ((200, RFC_7030), Role.SECC, "secp521r1", "sha384",  # whose profiles have no such key
         "challengePassword, 1.3.132.0.34, 1.3.6.1.1.1.1.22"),
        ((200, b"MAoGCCqGSM49AwEH"), Role.SECC, "secp256r1", "sha256", None),
        ((204, b""), Role.SECC, "secp521r1", "sha512", None),
        ((404, b"<html>"), Role.SECC, "secp521r1", "sha512", None),
        ((200, b"<html>"), Role.SECC, "secp521r1", "sha512", ""),
        ((500, b""), Role.SECC, "secp521r1", "sha512", ""),
    ],
)  # fmt: skip
async def test_what_a_ca_wants_in_requests_is_followed_or_named(
    lab: Lab, answer: tuple[int, bytes], role: Role, curve: str, digest: str, lacks: str | None
) -> None:
    """csrattrs, RFC 7030 4.5."""
    asked: list[str] = []

    async def answered(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.Response(status=202)
        asked.append(request.path)
        return web.Response(status=answer[0], body=answer[1])

    async with serving(answered, server_tls(lab.tree)) as port:
        est = EstServer(url=f"https://localhost:{port}/est", root=lab.tree.path("csms/root.pem"))
        holder = Holder(lab, role, est=est)
        for _ in range(2):
            await holder.enrolment.look()
    csr = x509.load_pem_x509_csr(holder.key.with_name("own.key.csr").read_bytes())
    key, hashed = csr.public_key(), csr.signature_hash_algorithm
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert hashed is not None
    assert (key.curve.name, hashed.name) == (curve, digest)
    named = [each.data for each in holder.events if each.name == "enrolment_lacks"]
    assert [each["lacks"] for each in named] == ([] if lacks is None else [lacks])
    assert [bool(each["error"]) for each in named] == ([] if lacks is None else [not lacks])
    assert asked == ["/est/csrattrs"], "once for a request"
