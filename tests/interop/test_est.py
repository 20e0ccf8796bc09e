"""The laboratory's EST server with the client of strongSwan, a program that we did not write (R217)."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki_tools.authority import new_key
from pki_tools.est import EstSettings
from pki_tools.issuing import make_request
from pki_tools.tree import PkiTree
from tests.packages import need
from tests.pki_tools.conftest import tree
from tests.pki_tools.est_lab import SECC_ID, Lab, csr_of
from v2g.pki.est import read_csr
from v2g.pki.issue import Subject
from v2g.pki.profile import KeyKind, Role

__all__ = ["tree"]  # a fixture

pytestmark = [pytest.mark.interop, pytest.mark.long]


async def run(folder: Path, *words: object) -> bytes:
    """Run strongSwan's `pki`, and return what it prints; its plugins that are not installed are not needed."""
    process = await asyncio.create_subprocess_exec(
        "pki", *map(str, words), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(90):
        printed, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return printed


@pytest.mark.requirement("R217")
async def test_strongswan_gets_and_renews_certificates(tree: PkiTree, tmp_path: Path) -> None:
    need("strongswan-pki", "libstrongswan-standard-plugins", "libcharon-extra-plugins")
    lab = Lab(tree, tmp_path)
    await lab.start(EstSettings(users={"lab": "a secret"}))
    try:
        url, root = f"https://localhost:{lab.port}", tree.path("csms/root.pem")
        await run(tmp_path, "--estca", "--url", url, "--cacert", root, "--caout", "ca")
        names = {x509.load_der_x509_certificate(each.read_bytes()).subject for each in tmp_path.glob("ca*.der")}
        assert names >= {x509.load_der_x509_certificate(der).subject for der in tree.chain("secc")[1:]}

        csr = csr_of()
        (tmp_path / "own.der").write_bytes(csr.public_bytes(Encoding.DER))
        enrol = ("--est", "--url", url, "--cacert", root, "--outform", "pem")
        issued = await run(tmp_path, *enrol, "--in", "own.der", "--userpass", "lab:a secret")
        leaf = x509.load_pem_x509_certificate(issued)
        assert leaf.public_key() == csr.public_key()
        assert SECC_ID in leaf.subject.rfc4514_string()

        station = x509.load_der_x509_certificate(tree.chain("csms/station")[0])
        key = new_key(KeyKind.SECP256R1, Role.STATION)
        name, organization, country = (
            str(station.subject.get_attributes_for_oid(oid)[0].value)
            for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COUNTRY_NAME)
        )
        subject = Subject(common_name=name, organization=organization, country=country)
        renewal = read_csr(make_request(key, Role.STATION, subject))
        (tmp_path / "renewal.der").write_bytes(renewal.public_bytes(Encoding.DER))
        (tmp_path / "station.der").write_bytes(tree.chain("csms/station")[0])
        held = tree.path("csms/station/leaf.key")
        renewed = x509.load_pem_x509_certificate(
            await run(tmp_path, *enrol, "--in", "renewal.der", "--cert", "station.der", "--key", held)
        )
        assert renewed.subject == station.subject
        assert renewed.public_key() == renewal.public_key()
        assert renewed.serial_number != station.serial_number
    finally:
        await lab.stop()
