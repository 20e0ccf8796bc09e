"""Revocation lists in files (`trust.crls`) that are renewed while the back end runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from csms.config import Trust
from csms.contracts.verifier import ContractVerifier
from csms.tokens.rules import ChainVerdict
from csms.trust.certificate_status import CertificateStatus
from pki_tools.tree import PkiTree
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key

EMAID = "DEV2GC00000001"
WEEK = timedelta(days=7)
NOW = datetime.now(UTC).replace(microsecond=0)


class Settable(Clock):
    """A clock that stands still until it is set."""

    utc = NOW

    def utc_ms(self) -> int:
        return int(self.utc.timestamp() * 1000)


class Bench:
    """What judges contracts by one list alone, and what it reports."""

    def __init__(self, pki: PkiTree, path: Path) -> None:
        self._pki, self.path = pki, path
        self._issuer = Issuer(
            x509.load_der_x509_certificate(pki.chain("contract")[1]), load_private_key(pki.path("mo/sub2.key"))
        )
        self.leaf = x509.load_der_x509_certificate(pki.chain("contract")[0]).serial_number
        self.clock = Settable()
        self.reported: list[Observe] = []

    def write(self, *revoked: int, made: datetime = NOW) -> None:
        """Replace the file by a list that holds for a week."""
        entries = [Revoked(each, made) for each in revoked]
        number = int(made.timestamp() * 1000)
        self.replace(make_crl(self._issuer, entries, number=number, at=made, validity=WEEK))

    def replace(self, data: bytes) -> None:
        """Replace the file."""
        draft = self.path.with_name("draft")
        draft.write_bytes(data)
        draft.replace(self.path)

    def begin(self) -> None:
        """Start the back end's part."""
        roots = (self._pki.path("mo/root.pem"), self._pki.path("v2g/root.pem"))
        config = Trust(roots=roots, crls=(self.path,))
        self.status = CertificateStatus(config, self.clock, self.reported.append)
        self._judge = ContractVerifier(config, self.clock, self.status, self.reported.append)

    async def judge(self) -> ChainVerdict:
        """Return the verdict on the contract."""
        pem = self._pki.path("contract/chain.pem").read_text()
        return (await self._judge.judge(EMAID, pem, ())).chain

    def names(self) -> list[str]:
        """Return what was reported since the last call."""
        names = [each.name for each in self.reported]
        self.reported.clear()
        return names


@pytest.fixture
def bench(pki: PkiTree, tmp_path: Path) -> Bench:
    """A bench with a file of its own."""
    return Bench(pki, tmp_path / "mo.crl")


async def test_a_renewed_list_counts_at_once(bench: Bench) -> None:
    bench.write(made=NOW - WEEK - timedelta(hours=1))
    bench.begin()
    assert await bench.judge() is ChainVerdict.BROKEN, "the list has expired"
    bench.write(made=NOW - timedelta(minutes=2))
    assert await bench.judge() is ChainVerdict.VALID
    bench.write(bench.leaf, made=NOW - timedelta(minutes=1))
    assert await bench.judge() is ChainVerdict.REVOKED
    assert bench.names() == ["crls_renewed", "crls_renewed"]


async def test_a_list_that_is_broken_gone_or_older_does_not_count(bench: Bench) -> None:
    bench.write(bench.leaf)
    bench.begin()
    bench.write(made=NOW - timedelta(minutes=1))
    assert await bench.judge() is ChainVerdict.REVOKED
    (kept,) = bench.reported
    assert (kept.data["file"], "older" in str(kept.data["error"])) == (str(bench.path), True)
    bench.replace(b"no list")
    assert await bench.judge() is ChainVerdict.REVOKED
    bench.path.unlink()
    for _ in range(2):
        assert await bench.judge() is ChainVerdict.REVOKED
    assert bench.names() == ["crls_kept"] * 3
    bench.write(made=NOW + timedelta(minutes=1))
    assert await bench.judge() is ChainVerdict.VALID
    assert bench.names() == ["crls_renewed"]


async def test_what_a_former_key_has_signed_is_judged_by_its_list_on(bench: Bench, pki: PkiTree) -> None:
    """`v2g pki renew DIR mo/sub2` puts the list of a new key into the file."""
    bench.write(bench.leaf)
    bench.begin()
    bench.replace(pki.path("cpo/sub2.crl").read_bytes())
    assert await bench.judge() is ChainVerdict.REVOKED
    assert bench.names() == ["crls_renewed"]
    assert len(bench.status.crls.current()) == 2
    bench.write(made=NOW + timedelta(minutes=1))
    assert await bench.judge() is ChainVerdict.VALID
    assert len(bench.status.crls.current()) == 2


async def test_every_list_of_a_pem_file_counts(bench: Bench, pki: PkiTree) -> None:
    """As `v2g pki crl --pem` writes them, or `openssl crl -text`; of one issuer's key the newest."""
    lists = []
    for made, serials in ((NOW, (bench.leaf,)), (NOW - timedelta(hours=1), ())):
        bench.write(*serials, made=made)
        lists.append(load_crl(bench.path.read_bytes()).crl.public_bytes(Encoding.PEM))
    other = load_crl(pki.path("cpo/sub2.crl").read_bytes()).crl.public_bytes(Encoding.PEM)
    bench.replace(b"Certificate Revocation List (CRL):\n".join((b"", other, *lists)))
    bench.begin()
    assert await bench.judge() is ChainVerdict.REVOKED
    assert len(bench.status.crls.current()) == 2
    bench.write(made=NOW + timedelta(minutes=1))
    newer = load_crl(bench.path.read_bytes()).crl.public_bytes(Encoding.PEM)
    bench.replace(other + lists[1])
    assert await bench.judge() is ChainVerdict.REVOKED
    bench.replace(other + newer)
    assert await bench.judge() is ChainVerdict.VALID
    assert bench.names() == ["crls_kept", "crls_renewed"]


def test_the_end_of_a_list_is_reported_a_day_before_and_when_it_has_come_once_each(bench: Bench) -> None:
    bench.write()
    bench.begin()
    lists = bench.status.crls
    end = NOW + WEEK
    assert lists.until_ms() == int(end.timestamp() * 1000)
    day, second = timedelta(days=1), timedelta(seconds=1)
    steps: tuple[tuple[datetime, list[str]], ...] = (
        (NOW, []),
        (end - day - second, []),
        (end - day, ["crl_due"]),
        (end - second, []),
        (end + second, ["crl_expired"]),
        (end + day, []),
    )
    for at, expected in steps:
        bench.clock.utc = at
        for reported in (expected, []):
            lists.poll()
            assert [each.name for each in bench.reported] == reported, at
            for each in bench.reported:
                assert each.data == {"file": str(bench.path), "until": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
            bench.reported.clear()
    bench.write(made=bench.clock.utc)
    lists.poll()
    bench.clock.utc += WEEK
    lists.poll()
    assert bench.names() == ["crls_renewed", "crl_due"]
