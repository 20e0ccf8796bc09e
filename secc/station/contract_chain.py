"""A contract's certificate chain in OCPP's form."""

import itertools
import logging
from collections.abc import Sequence

import msgspec

from v2g.errors import V2GError
from v2g.ocpp.messages.base import OCSPRequestData

_log = logging.getLogger(__name__)


def describe_chain(chain_der: Sequence[bytes]) -> tuple[str, tuple[OCSPRequestData, ...]]:
    """Return a chain as PEM, and the OCSP request data of each certificate whose issuer it contains."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from v2g.pki.ocsp import ocsp_request_data

    try:
        chain = [x509.load_der_x509_certificate(der) for der in chain_der]
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain).decode()
        found = [ocsp_request_data(one, issuer) for one, issuer in itertools.pairwise(chain)]
    except (ValueError, V2GError) as error:
        _log.warning("contract chain: %s", error)
        return "", ()
    return pem, tuple(OCSPRequestData(**msgspec.structs.asdict(data)) for data in found)
