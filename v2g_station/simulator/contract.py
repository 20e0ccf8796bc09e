"""The contract of simulated vehicles, and its validation in place of the charger's."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from v2g.errors import CertificateError
from v2g.pki.certificates import chain_from_pem, emaid_of, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.profiles import Role
from v2g.pki.verify import verify_chain
from v2g_station.blocks.authorization.contracts import describe_chain
from v2g_station.blocks.evse import ContractPresented


def load_contract(path: Path) -> ContractPresented:
    """Return the contract of a chain, PEM, leaf first, at no EVSE yet. Raises CertificateError."""
    chain = load_chain(path)
    pem, hashes = describe_chain(chain)
    return ContractPresented(evse_id=0, emaid=emaid_of(load_certificate(chain[0])), chain_pem=pem, hashes=hashes)


def validity(contract: ContractPresented, roots: Iterable[x509.Certificate], utc_ms: int) -> bool | None:
    """Return whether a chain is valid by these roots, None without its root (C07.FR.06)."""
    leaf, *above = chain_from_pem(contract.chain_pem.encode())
    anchors = [each.public_bytes(Encoding.DER) for each in roots]
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    try:
        verify_chain(leaf, above, anchors, role=Role.CONTRACT, at=at, interop=True)
    except CertificateError as error:
        return None if error.reason == "unknown_root" else False
    return True
