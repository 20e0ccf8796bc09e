"""The charger's own OCSP answers: fetched in time, kept on disk, served on when the responder is away."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.io.tls.peer import needs_openssl
from v2g.errors import RevocationError
from v2g.io.tls.stapler import FIRST_RETRY, LAST_RETRY, URGENT_RETRY, Stapler, retry_after
from v2g.observe import Observe
from v2g.pki.credentials import Credentials
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import check_ocsp, make_response


class Desk:
    """A stapler with a clock and a responder that do as they are told."""

    def __init__(self, pki: PkiTree, cache: Path | None = None) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.events: list[Observe] = []
        self.asked: list[tuple[str, bytes]] = []
        self.away = False
        self.revoked_at: datetime | None = None
        self.days = 4
        self.credentials = pki.credentials("secc")
        self._chain = [x509.load_der_x509_certificate(each) for each in self.credentials.chain]
        self.signer = Issuer(self._chain[1], load_private_key(pki.path("cpo/sub2.key")))
        self.stapler = Stapler(
            anchors=pki.anchors("v2g"), cache=cache, observe=self.events.append, ask=self._ask, now=lambda: self.now
        )

    async def _ask(self, url: str, request: bytes) -> bytes:
        self.asked.append((url, request))
        if self.away:
            raise RevocationError("nobody there", reason="refused")
        leaf, issuer = self._chain[:2]
        assert ocsp.load_der_ocsp_request(request).serial_number == leaf.serial_number
        validity = timedelta(days=self.days)
        return make_response(leaf, issuer, self.signer, at=self.now, validity=validity, revoked_at=self.revoked_at)

    async def after(self, **time: float) -> list[str]:
        """Let time pass, refresh what is due, and return the names of the events."""
        self.now += timedelta(**time)
        self.events.clear()
        await self.stapler.refresh([self.credentials])
        return [each.name for each in self.events]

    def check(self) -> None:
        check_ocsp(self.stapler.answer(self.credentials), *self._chain[:2], self.now)


async def test_an_answer_is_fetched_at_once_and_again_after_half_its_life(pki: PkiTree) -> None:
    desk = Desk(pki)
    assert desk.stapler.answer(desk.credentials) == b""
    assert await desk.after() == ["staple_refreshed"]
    desk.check()
    first = desk.stapler.answer(desk.credentials)
    assert await desk.after(days=1.9) == []
    assert desk.stapler.answer(desk.credentials) == first
    assert await desk.after(days=0.2) == ["staple_refreshed"]
    assert desk.stapler.answer(desk.credentials) != first
    assert desk.asked[0][0] == "http://pki.invalid/cpo"


async def test_while_the_responder_is_away_the_last_good_answer_is_served_and_it_is_asked_ever_less(
    pki: PkiTree,
) -> None:
    desk = Desk(pki)
    await desk.after()
    desk.away = True
    waits = []
    await desk.after(days=2)
    for _ in range(8):
        waits.append(desk.events[-1].data["retry_s"])
        asked = len(desk.asked)
        assert await desk.after(seconds=int(str(waits[-1])) - 1) == []  # not before
        assert len(desk.asked) == asked
        assert await desk.after(seconds=1) == ["staple_failed"]
        desk.check()
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    desk.away = False
    assert await desk.after(hours=1) == ["staple_refreshed"]


async def test_once_the_answer_has_run_out_it_is_asked_for_urgently(pki: PkiTree) -> None:
    desk = Desk(pki)
    await desk.after()
    desk.away = True
    for _ in range(10):
        await desk.after(hours=12)
    assert desk.events[-1].data["good_until"] is None
    assert desk.events[-1].data["retry_s"] == URGENT_RETRY.total_seconds()
    with pytest.raises(RevocationError):
        desk.check()


async def test_an_answer_that_says_revoked_is_what_vehicles_get_to_hear(pki: PkiTree) -> None:
    desk = Desk(pki)
    await desk.after()
    desk.revoked_at = desk.now
    assert await desk.after(days=2) == ["staple_failed"]
    assert desk.events[-1].data["reason"] == "revoked"
    assert desk.events[-1].data["good_until"] is None
    with pytest.raises(RevocationError) as error:
        desk.check()
    assert error.value.reason == "revoked"


async def test_an_answer_that_a_vehicle_would_refuse_does_not_replace_a_good_one(pki: PkiTree) -> None:
    desk = Desk(pki)
    await desk.after()
    stranger = x509.load_der_x509_certificate(pki.chain("contract")[1])
    desk.signer = Issuer(stranger, load_private_key(pki.path("mo/sub2.key")))
    assert await desk.after(days=2) == ["staple_failed"]
    assert desk.events[-1].data["reason"] == "bad_signature"
    desk.check()


async def test_answers_outlive_a_restart(pki: PkiTree, tmp_path: Path) -> None:
    desk = Desk(pki, tmp_path / "cache")
    await desk.after()
    again = Desk(pki, tmp_path / "cache")
    again.away = True
    again.check()
    assert await again.after() == []
    assert not again.asked
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"not an answer")
    broken = Desk(pki, tmp_path / "cache")
    assert broken.stapler.answer(broken.credentials) == b""
    assert await broken.after() == ["staple_refreshed"]
    broken.check()


async def test_a_cache_that_cannot_be_written_costs_nothing_now(pki: PkiTree, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    desk = Desk(pki, tmp_path / "cache")
    assert await desk.after() == ["staple_refreshed"]
    desk.check()


async def test_a_chain_that_names_nobody_or_has_no_issuer_is_reported(pki: PkiTree) -> None:
    desk = Desk(pki)
    alone = Credentials(desk.credentials.chain[:1], desk.credentials.key)
    await desk.stapler.refresh([alone])
    assert desk.events[-1].data["reason"] == "missing"
    root = Credentials(pki.anchors("v2g"), desk.credentials.key)
    await desk.stapler.refresh([root])
    assert "has no OCSP responder" in str(desk.events[-1].data["error"])


@given(st.integers(1, 10_000), st.booleans())
def test_waits_grow_within_limits(failures: int, urgent: bool) -> None:
    wait = retry_after(failures, urgent=urgent)
    assert FIRST_RETRY <= wait <= (URGENT_RETRY if urgent else LAST_RETRY)
    assert wait <= retry_after(failures + 1, urgent=urgent)


# --- an independent responder ----------------------------------------------------------------------------------


@pytest.fixture
def openssl_responder(pki: PkiTree, tmp_path: Path) -> Iterator[str]:
    """`openssl ocsp` for the charger's certificate; yields its URL."""
    leaf = x509.load_der_x509_certificate(pki.chain("secc")[0])
    index = tmp_path / "index.txt"
    index.write_text(f"V\t{leaf.not_valid_after_utc:%y%m%d%H%M%SZ}\t\t{leaf.serial_number:X}\tunknown\t/CN=secc\n")
    program = shutil.which("openssl")
    assert program is not None
    command = [program, "ocsp", "-index", str(index), "-port", "0", "-CA", str(pki.path("cpo/sub2.pem"))]
    command += ["-rsigner", str(pki.path("cpo/ocsp.pem")), "-rkey", str(pki.path("cpo/ocsp.key")), "-ndays", "3"]
    with subprocess.Popen([*command, "-rmd", "sha512"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            accepts = process.stdout.readline()  # ACCEPT 0.0.0.0:40000 PID=4711
            yield f"http://127.0.0.1:{accepts.split()[1].rpartition(b':')[2].decode()}"
        finally:
            process.kill()


@needs_openssl
async def test_openssl_answers_and_its_answer_is_stapled(pki: PkiTree, openssl_responder: str) -> None:
    events: list[Observe] = []
    credentials = pki.credentials("secc")
    async with asyncio.timeout(60):
        while True:
            stapler = Stapler(anchors=(), responder=openssl_responder, observe=events.append)
            await stapler.refresh([credentials])
            if stapler.answer(credentials):
                break
            await asyncio.sleep(0.02)  # it may not listen yet
    assert events[-1].name == "staple_refreshed"
    leaf, issuer = (x509.load_der_x509_certificate(each) for each in credentials.chain[:2])
    check_ocsp(stapler.answer(credentials), leaf, issuer, datetime.now(UTC))
