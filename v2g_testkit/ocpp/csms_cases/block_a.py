"""Functional block A, security: cases of passwords, TLS and certificates for back ends."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import NameOID

from v2g.errors import CertificateError
from v2g.ocpp.times import format_time
from v2g_testkit.ocpp.attempts import Attempt
from v2g_testkit.ocpp.case import Block, Failed, Inconclusive, NotApplicable, Payload, Profile, given
from v2g_testkit.ocpp.certificates import Authority, SigningRequest
from v2g_testkit.ocpp.csms_tester import CsmsTest

A: Final[Block[CsmsTest]] = Block()
A_SECURED: Final = A.having(profiles=("Advanced Security",))

_NEW: Final = "v2g-conformance-2-of-2"
_WRONG: Final = "v2g-conformance-wrong-1"
_SUITES: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)
"""A back end has all of them, by the names of OpenSSL (A00.FR.318, A00.FR.421)."""


def _needs(t: CsmsTest, *profiles: int) -> None:
    used = t.attempt.security_profile
    if used not in profiles:
        how = f"with security profile {used}" if used else "without a password"
        raise NotApplicable(f"the station connects {how}")


def _changed(attempt: Attempt, **changes: object) -> Attempt:
    """Return the attempt of a station that shows something else: `password`, or `chain` and `key`."""
    return msgspec.structs.replace(attempt, station=msgspec.structs.replace(attempt.station, **changes))


# -- passwords


def _needs_password(t: CsmsTest) -> None:
    _needs(t, 1, 2)
    if t.attempt.station.password is None:
        raise NotApplicable("the station connects without a password")


@A.case("TC_A_01_CSMS", "HTTP basic authentication", also="A00.FR.324")
async def right_password(t: CsmsTest) -> None:
    """The back end lets a station in with its identity as user name and its password."""
    _needs_password(t)
    await t.let_in("A00.FR.207")
    await t.booted()


@A.case("TC_A_02_CSMS", "User name that is not the identity", also="A00.FR.204 A00.FR.303 A00.FR.324")
async def other_username(t: CsmsTest) -> None:
    """The back end does not let a station in with another user name and the right password."""
    _needs_password(t)
    attempt = msgspec.structs.replace(t.attempt, username=f"{t.attempt.station.identity}Invalid")
    await t.turned_away(attempt, "A00.FR.207", "another user name")
    await t.ready()


@A.case("TC_A_03_CSMS", "Wrong password", also="A00.FR.324")
async def wrong_password(t: CsmsTest) -> None:
    """The back end does not let a station in with a wrong password, nor without one."""
    _needs_password(t)
    await t.turned_away(_changed(t.attempt, password=_WRONG), "A00.FR.207", "a wrong password")
    await t.turned_away(_changed(t.attempt, password=None), "A00.FR.207", "no password")
    await t.ready()


async def _sets_password(t: CsmsTest, password: str, status: str) -> str:
    """Have the back end set a password, or another one, which the station answers so; return it. Raises Failed."""
    place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}

    def answer(payload: Payload) -> Payload:
        about = [{name: each[name] for name in place} for each in payload["setVariableData"]]
        return {"setVariableResult": [each | {"attributeStatus": status} for each in about]}

    t.answer("SetVariables", answer)
    wanted = [{**place, "attributeValue": password}]
    sent = await t.asked("SetVariables", "A01.FR.02", free=("setVariableData",), setVariableData=wanted)
    for each in sent["setVariableData"]:
        if (each["component"]["name"], each["variable"]["name"]) == ("SecurityCtrlr", "BasicAuthPassword"):
            return str(each["attributeValue"])
    raise Failed("sends SetVariables without SecurityCtrlr.BasicAuthPassword", "A01.FR.02")


@A.case("TC_A_09_CSMS", "A new password", also="A01.FR.02", needs=("password change",))
async def new_password(t: CsmsTest) -> None:
    """The back end sets a password; once the station has accepted it, it takes the new one only."""
    _needs_password(t)
    before = t.attempt
    old = before.station.password or ""

    async def restore() -> None:
        t.keep_password(await _sets_password(t, old, "Accepted"))

    await t.ready()
    new = await _sets_password(t, _NEW, "Accepted")
    await t.let_in("A01.FR.03", _changed(before, password=new))
    t.keep_password(new)  # not if it is refused: later cases continue with the old one
    t.undo(restore)
    await t.booted()
    await t.turned_away(before, "A01.FR.03", "the old password")
    await t.ready()


@A.case("TC_A_10_CSMS", "A new password that the station rejects", also="A01.FR.02", needs=("password change",))
async def rejected_password(t: CsmsTest) -> None:
    """The back end sets a password; after the station has rejected it, it still takes the old one."""
    _needs_password(t)
    await t.ready()
    await _sets_password(t, _NEW, "Rejected")
    await t.let_in("A01.FR.04")
    status = (await t.boot())["status"]
    t.check(status != "Rejected", "A01.FR.05", f"answers BootNotification with {status}")


# -- TLS


@A.case("TC_A_04_CSMS", "TLS with the certificate of the back end", also="A00.FR.306 A00.FR.307 A00.FR.510")
async def tls(t: CsmsTest) -> None:
    """The back end supports the four cipher suites, and shows a certificate with its name and a long key."""
    _needs(t, 2, 3)
    suites = "A00.FR.318" if t.attempt.security_profile == 2 else "A00.FR.421"
    await t.let_in("A00.FR.312")
    await t.booted()
    shown = [await t.certificate(msgspec.structs.replace(t.attempt, suite=suite), suites) for suite in _SUITES]
    for found in shown:
        key = found.public_key()
        if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
            t.check(key.key_size >= 2048, "A00.FR.502", f"the key has {key.key_size} bits")
        elif isinstance(key, ec.EllipticCurvePublicKey):
            t.check(key.key_size >= 224, "A00.FR.503", f"the key has {key.key_size} bits")
        t.check(found.serial_number > 0, "A00.FR.508", "the certificate has no serial number")
    for found in shown:
        _names_the_back_end(t, found)


def _names_the_back_end(t: CsmsTest, certificate: x509.Certificate) -> None:
    """Raise Failed unless the common name is the host of the URL, Inconclusive if a subjectAltName is, which a back
    end with several paths to it may have instead (A00.FR.511).
    """
    host = urlsplit(t.attempt.url).hostname or ""
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names and not names_host(names, host) and names_host(alternative_names(certificate), host):
        raise Inconclusive(f"the certificate is of {', '.join(names)}, and of {host} by another path only")
    t.check(names_host(names, host), "A00.FR.510", f"the certificate is of {', '.join(names) or 'no host'}")


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """Return the domain names of subjectAltName."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)


def names_host(names: list[str], host: str) -> bool:
    """Return whether one of the names is a host's; also for a host whose FQDN the URL does not have."""
    try:
        ip_address(host)
    except ValueError:
        found = [each.lower() for each in names]
        return "." not in host or host in found or f"*.{host.partition('.')[2]}" in found
    return True


@A.case("TC_A_06_CSMS", "TLS version too low", also="A00.FR.313 A00.FR.314 A00.FR.416 A00.FR.417 A00.FR.418")
async def old_version(t: CsmsTest) -> None:
    """The back end does not let a station in with TLS 1.1, and does with a newer version."""
    _needs(t, 2, 3)
    await t.turned_away(msgspec.structs.replace(t.attempt, outdated=True), "A00.FR.315", "TLS 1.1", ends=True)
    await t.ready()


@A_SECURED.case("TC_A_07_CSMS", "TLS with the certificate of the station", also="A00.FR.405 A00.FR.415 A00.FR.416")
async def own_certificate(t: CsmsTest) -> None:
    """The back end lets a station in with its certificate."""
    _needs(t, 3)
    await t.let_in("A00.FR.403")
    await t.booted()


def _signing(t: CsmsTest) -> SigningRequest:
    """Return a request for a certificate of the station, of its serial number (A00.FR.511). Raises Inconclusive."""
    station = t.attempt.station
    try:
        return SigningRequest(station.serial_number or station.identity, station.chain)
    except CertificateError as error:
        raise Inconclusive(str(error)) from None


@A_SECURED.case("TC_A_08_CSMS", "Invalid certificate of the station", also="A00.FR.403 A00.FR.405")
async def invalid_certificate(t: CsmsTest) -> None:
    """The back end does not let a station in with a certificate of an unknown authority, or an invalid one."""
    _needs(t, 3)
    request = _signing(t)
    unknown = Authority("CSMSRootCertificate", t.now()).signed(request.pem)
    wrong = [("a certificate of an unknown authority", *request.save(t.folder(), unknown))]
    wrong += [(f"the certificate {each.chain}", each.chain, each.key) for each in t.declared.invalid_certificates]
    for what, chain, key in wrong:
        await t.turned_away(_changed(t.attempt, chain=chain, key=key), "A00.FR.407", what, ends=True)
    await t.turned_away(
        _changed(t.attempt, chain=None, key=None, password=None), "A00.FR.407", "no certificate", ends=True
    )
    await t.ready()


# -- new certificates

_OWN: Final = "ChargingStationCertificate"


def is_signed(t: CsmsTest, request: SigningRequest, chain: str, requirement: str) -> None:
    """Check that a chain (PEM) begins with a valid certificate for the key of a request. Raises Failed."""
    try:
        leaf, *_ = x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        raise Failed("certificateChain is not a chain of certificates", requirement) from None
    t.check(request.is_of(leaf), requirement, "the certificate is of another key")
    ends = format_time(round(leaf.not_valid_after_utc.timestamp() * 1000))
    t.check(t.until(ends) > 0, requirement, f"the certificate is valid until {ends} only")


async def _renewed(t: CsmsTest, kind: str | None, status: str = "Accepted") -> Attempt:
    """Have the back end renew a certificate, None: a combined one; the station answers it so. Return how it connects
    with it. Raises Failed.
    """
    use: Payload = {} if kind is None else {"certificateType": kind}
    trigger = f"Sign{kind or 'CombinedCertificate'}"
    await t.ready()
    t.answer("CertificateSigned", {"status": status})
    await t.asked("TriggerMessage", "F06.FR.01", free=("evse",), requestedMessage=trigger)
    request = _signing(t)
    answer = await t.call("SignCertificate", csr=request.pem, **use)
    t.check(answer["status"] == "Accepted", "A02.FR.11", f"answers SignCertificate with {answer['status']}")
    sent = await t.expect("CertificateSigned", "A02.FR.11")
    if kind is not None:
        found = sent.get("certificateType", _OWN)  # without a kind it is for the connection, too
        t.equal(found, kind, "A02.FR.14", "the certificate is a {}")
    is_signed(t, request, sent["certificateChain"], "A02.FR.11")
    chain, key = request.save(t.folder(), sent["certificateChain"])
    return _changed(t.attempt, chain=chain, key=key)


def _renews(number: int, title: str, kind: str | None, need: str, profile: Profile = "Advanced Security") -> None:
    @A.case(
        f"TC_A_{number}_CSMS",
        title,
        required="The back end accepts the station's request, and delivers a certificate for its key"
        + ("; with security profile 3 it lets the station in with it." if kind == _OWN else "."),
        requirements=("A02.FR.11", "A02.FR.14", *(("A00.FR.403",) if kind == _OWN else ())),
        profiles=(profile,),
        needs=("certificate renewal", *((need,) if need else ())),
        quick=number == 11,
    )
    async def script(t: CsmsTest) -> None:
        attempt = await _renewed(t, kind)
        if kind == _OWN and t.attempt.security_profile == 3:
            await t.let_in("A00.FR.403", attempt)
            await t.booted()
        await t.call("Heartbeat")


_renews(11, "Certificate of the station that is renewed", _OWN, "")
_renews(12, "V2G certificate that is renewed", "V2GCertificate", "V2G certificates", "ISO 15118 Support")
_renews(13, "Combined certificate that is renewed", None, "combined certificates", "ISO 15118 Support")


@A.case(
    "TC_A_14_CSMS", "Renewed certificate that the station rejects", also="A02.FR.11 A02.FR.14",
    profiles=("Advanced Security",), needs=("certificate renewal",),
)  # fmt: skip
async def rejected_certificate(t: CsmsTest) -> None:
    """The back end accepts the station's request, and delivers a certificate for its key; after the station has
    rejected it, it continues."""
    await _renewed(t, _OWN, "Rejected")
    await t.call("SecurityEventNotification", type="InvalidChargingStationCertificate", timestamp=t.now())


# -- security profiles


@A.case("TC_A_19_CSMS", "Higher security profile")
async def upgrade(t: CsmsTest) -> None:
    """The back end sets the network profile, puts it first and resets the station; once that has connected with the
    higher security profile, it is not let in with the lower one. For good."""
    to = t.declared.upgrade
    if to is None:
        raise NotApplicable("no station is declared whose security profile may be raised")
    _needs(t, 1, 2)
    before = msgspec.structs.replace(t.attempt, station=msgspec.structs.replace(to.station, chain=None, key=None))
    level = before.security_profile + 1
    station = to.station if level == 3 else before.station
    after = Attempt(url=to.url or before.url, station=station, ca=to.ca or before.ca)
    await given(t.connect(before), t.booted())
    way = {
        "ocppVersion": "OCPP20",
        "ocppInterface": "Wired0",
        "ocppTransport": "JSON",
        "messageTimeout": 30,
        "ocppCsmsUrl": after.url,
        "securityProfile": level,
    }
    free = ("configurationSlot", "connectionData")
    sent = await t.asked("SetNetworkProfile", "A05", free=free, configurationSlot=2, connectionData=way)
    t.equal(sent["connectionData"]["securityProfile"], level, "A05", "sets security profile {}")
    slot = str(sent["configurationSlot"])
    order = {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "NetworkConfigurationPriority"},
        "attributeValue": slot,
    }
    sent = await t.asked("SetVariables", "A05", free=("setVariableData",), setVariableData=[order])
    values = [each["attributeValue"] for each in sent["setVariableData"] if each["variable"] == order["variable"]]
    t.check(
        any(slot in each.split(",") for each in values), "A05", f"puts slots {', '.join(values) or 'of none'} first"
    )
    await t.asked("Reset", "A05", free=("type",), type="OnIdle")
    await t.let_in("A05", after)
    await t.booted()
    await t.turned_away(before, "A05.FR.07", f"security profile {level - 1}", ends=True)
    await given(t.connect(after), t.booted())
