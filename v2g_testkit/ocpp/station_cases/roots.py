"""Certificates of cases: roots at a station, and new certificates of the station.

Roots are installed for a case, listed, and deleted after it (M03 to M05); new certificates are requested by the
station, and delivered to it (A02).
"""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from v2g.errors import KeyAccessError
from v2g_testkit.ocpp.case import Failed, NotApplicable, Payload
from v2g_testkit.ocpp.certificates import Authority, Root
from v2g_testkit.ocpp.station_cases.steps import not_rejected
from v2g_testkit.ocpp.station_tester import StationTest

CSMS: Final = "CSMSRootCertificate"
MANUFACTURER: Final = "ManufacturerRootCertificate"
V2G: Final = "V2GRootCertificate"
MO: Final = "MORootCertificate"
_CHECKED: Final = "SecurityCtrlr.AdditionalRootCertificateCheck"


async def install(t: StationTest, use: str) -> Authority:
    """Install the root of a new authority, which is deleted after the case. Raises Failed, NotApplicable."""
    t.needs(use != CSMS or not t.has(_CHECKED), "it only takes CSMS roots that its present one has signed")
    made = Authority(use, t.now())
    await _put(t, made, use)
    t.undo(lambda: _delete(t, made))
    return made


async def _delete(t: StationTest, root: Root) -> None:
    for each in await installed(t):
        if root.is_named_by(each["certificateHashData"]):
            await t.ask("DeleteCertificate", certificateHashData=each["certificateHashData"])


async def trust_contracts(t: StationTest, *, trusted: bool) -> None:
    """Let the station have the root of the vehicle's contract, or not, until the end of the case. For preconditions.

    Raises Failed, NotApplicable.
    """
    if t.declared.contract_root is None:
        raise NotApplicable("no root of the vehicle's contract is declared (`contract_root`)")
    try:
        root = Root.read(t.declared.contract_root)
    except KeyAccessError as error:
        raise NotApplicable(str(error)) from None
    found = [each for each in await installed(t) if root.is_named_by(each["certificateHashData"])]
    if trusted and not found:
        t.undo(lambda: _delete(t, root))
        await _put(t, root, MO)
    for each in [] if trusted else found:
        answer = await t.ask("DeleteCertificate", certificateHashData=each["certificateHashData"])
        t.needs(answer["status"] == "Accepted", "it does not delete the root of the vehicle's contract")
        t.undo(lambda use=each["certificateType"]: _put(t, root, use))  # type: ignore[misc]


async def _put(t: StationTest, root: Root, use: str) -> None:
    answer = await t.ask("InstallCertificate", certificateType=use, certificate=root.pem)
    t.check(answer["status"] == "Accepted", "M05.FR.02", f"answers {answer['status']} to a {use}")


async def delete_others(t: StationTest, use: str, kept: list[Payload]) -> None:
    """Delete the certificates of a kind, except those that are kept."""
    for each in await installed(t, use):
        if each not in kept:
            await t.ask("DeleteCertificate", certificateHashData=each["certificateHashData"])


async def installed(t: StationTest, *uses: str) -> list[Payload]:
    """Return the entries of certificates of these kinds, none: of all kinds. Raises Failed."""
    wanted = {"certificateType": list(uses)} if uses else {}
    answer = await t.ask("GetInstalledCertificateIds", **wanted)
    entries: list[Payload] = answer.get("certificateHashDataChain", [])
    expected = "Accepted" if entries else "NotFound"
    requirement = "M03.FR.03" if entries else "M03.FR.02"
    t.check(answer["status"] == expected, requirement, f"answers {answer['status']} with {len(entries)} certificates")
    others = {each["certificateType"] for each in entries} - set(uses)
    t.check(not uses or not others, "M03.FR.04", f"lists other kinds: {', '.join(sorted(others))}")
    return entries


def lists(entries: list[Payload], root: Authority) -> bool:
    """Return whether a root is among the entries, with its kind."""
    same = (each["certificateHashData"] for each in entries if each["certificateType"] == root.use)
    return any(map(root.is_named_by, same))


OWN: Final = "ChargingStationCertificate"


async def requested(t: StationTest, trigger: str, use: str) -> str:
    """Let the station ask for a new certificate; return its request, PEM.

    Raises Failed, Inconclusive, NotApplicable.
    """
    answer = await t.ask("TriggerMessage", requestedMessage=trigger)
    not_rejected(answer["status"], trigger)
    t.needs(use == OWN or answer["status"] == "Accepted", f"it does not ask for a {use}")
    t.check(answer["status"] == "Accepted", "F06.FR.05", f"answers {answer['status']} to {trigger}")
    request = await t.expect("SignCertificate", "A02.FR.03")
    t.equal(request.get("certificateType", OWN), use, "A02.FR.13", "asks for a {}")
    csr: str = request["csr"]
    is_sound_request(t, csr, "A02.FR.03")
    return csr


async def delivered(t: StationTest, chain: str, use: str = OWN) -> str:
    """Deliver a chain, PEM; return the status."""
    answer = await t.ask("CertificateSigned", certificateChain=chain, certificateType=use)
    return str(answer["status"])


def is_sound_request(t: StationTest, csr: str, requirement: str) -> None:
    """Check the form and signature of a request, PEM, and the length of its key. Raises Failed."""
    try:
        parsed = x509.load_pem_x509_csr(csr.encode())
    except ValueError:
        raise Failed("the request is not PKCS#10 in PEM", requirement) from None
    t.check(parsed.is_signature_valid, requirement, "the signature of the request is wrong")
    has_long_key(t, parsed.public_key())


def has_long_key(t: StationTest, key: object) -> None:
    """Check the length of a key. Raises Failed."""
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        t.check(key.key_size >= 2048, "A00.FR.502", f"the key has {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        t.check(key.key_size >= 224, "A00.FR.503", f"the key has {key.key_size} bits")
