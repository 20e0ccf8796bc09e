"""New certificates of a station: requested by it, and delivered to it (A02)."""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from v2g_testkit.ocpp.case import Failed
from v2g_testkit.ocpp.station_tester import StationTest

OWN: Final = "ChargingStationCertificate"


async def requested(t: StationTest, trigger: str, use: str) -> str:
    """Let the station ask for a new certificate; return its request, PEM. Raises Failed, NotApplicable."""
    answer = await t.ask("TriggerMessage", requestedMessage=trigger)
    t.needs(use == OWN or answer["status"] == "Accepted", f"it does not ask for a {use}")
    t.check(answer["status"] == "Accepted", "F06.FR.05", f"answers {answer['status']} to {trigger}")
    request = await t.expect("SignCertificate", "A02.FR.03")
    t.equal(request.get("certificateType", OWN), use, "A02.FR.13", "asks for a {}")
    csr: str = request["csr"]
    try:
        parsed = x509.load_pem_x509_csr(csr.encode())
    except ValueError:
        raise Failed("the request is not PKCS#10 in PEM", "A02.FR.03") from None
    t.check(parsed.is_signature_valid, "A02.FR.03", "the signature of the request is wrong")
    has_long_key(t, parsed.public_key())
    return csr


async def delivered(t: StationTest, chain: str, use: str = OWN) -> str:
    """Deliver a chain, PEM; return the status."""
    answer = await t.ask("CertificateSigned", certificateChain=chain, certificateType=use)
    return str(answer["status"])


def has_long_key(t: StationTest, key: object) -> None:
    """Check the length of a key. Raises Failed."""
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        t.check(key.key_size >= 2048, "A00.FR.502", f"the key has {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        t.check(key.key_size >= 224, "A00.FR.503", f"the key has {key.key_size} bits")
