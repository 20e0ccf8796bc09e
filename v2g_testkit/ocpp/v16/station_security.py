"""The cases of OCPP 1.6 for charging stations that transfer files, or are about security. Ids as in station_cases.

Names of security events and what a station may do with keys of the security whitepaper are general knowledge.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from v2g_testkit.ocpp.case import Block, Failed, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.certificates import Authority, outdated
from v2g_testkit.ocpp.connection import CallError
from v2g_testkit.ocpp.station_cases.block_a import SUITES, rejects
from v2g_testkit.ocpp.station_cases.roots import CSMS, MANUFACTURER, has_long_key, is_sound_request
from v2g_testkit.ocpp.station_cases.transfers import IMAGE, LOGS, goes_through, image_of, offer_image
from v2g_testkit.ocpp.station_tester import SHORTEST_PASSWORD
from v2g_testkit.ocpp.v16.station import StationTest16

FIRMWARE: Final[Block[StationTest16]] = Block(
    profiles=("Firmware Management",), versions=("1.6",), needs=("FirmwareManagement",)
)
SECURITY: Final[Block[StationTest16]] = Block(
    profiles=("Advanced Security",), versions=("1.6",), needs=("SecurityProfile",)
)
SIGNED_FIRMWARE: Final = SECURITY.having(needs=("SecurityProfile", "FirmwareManagement"))
RESTARTS_S: Final = 10.0
"""How long a station may take to restart once it has reported the end of an update, s."""
_KINDS: Final = {CSMS: "CentralSystemRootCertificate", MANUFACTURER: MANUFACTURER}


async def _states(t: StationTest16, action: str, *last: str, number: int | None = None) -> list[str]:
    """Return the states of an update or upload until one of the `last`, each with the number of the request.

    Raises Failed.
    """
    states: list[str] = []
    while not states or states[-1] not in last:
        found = await t.find(lambda each: each.action == action, t.declared.away_seconds)
        if found is None:
            raise Failed(f"reports {', '.join(states) or 'nothing'}, and not {' or '.join(last)}", action)
        t.check(found.get("requestId") == number, action, f"is of the request {found.get('requestId')}")
        states.append(found["status"])
    return states


async def _event(t: StationTest16, kind: str) -> None:
    await t.expect("SecurityEventNotification", type=kind)


async def _install(t: StationTest16, use: str, *, stays: bool = False) -> Authority:
    """Install the root of a new authority. Raises Failed."""
    made, kind = Authority(use, t.now()), _KINDS[use]
    await t.says("InstallCertificate", "Accepted", certificateType=kind, certificate=made.pem)

    async def delete() -> None:
        for each in await _hashes(t, kind):
            if made.is_named_by(dict(each)):
                await t.ask("DeleteCertificate", certificateHashData=each)

    if not stays:
        t.undo(delete)
    return made


# -- firmware and logs

_FAILED: Final = ("DownloadFailed", "InstallationFailed", "InvalidSignature", "InstallVerificationFailed")
_PLAIN: Final = "FirmwareStatusNotification"


async def _plain_update(t: StationTest16, *, broken: bool) -> list[str]:
    """Have an image installed that is not signed; return the states until the end. Raises Failed, NotApplicable."""
    t.needs(t.declared.supports.get("unsigned firmware", True), "it takes signed firmware only")
    image = image_of(t, broken=broken)
    files, url = await t.file_server()
    files.files[IMAGE] = image
    await t.ask("UpdateFirmware", location=url + IMAGE, retrieveDate=t.later(-60 if broken else 15), retries=0)
    if not broken:
        await t.nothing(_PLAIN, "UpdateFirmware", within=8)
    states = await _states(t, _PLAIN, "Installed", *_FAILED)
    t.check(f"GET {IMAGE}" in files.asked, "UpdateFirmware", f"reports {states[-1]} of firmware that it never fetched")
    return states


@FIRMWARE.case("TC_044_1_CS", "Firmware is installed", requirements="UpdateFirmware")
async def installed(t: StationTest16) -> None:
    """The station downloads the firmware at its retrieveDate, installs it, and reports each state."""
    goes_through(t, await _plain_update(t, broken=False), "Downloading", "Downloaded", "Installing", "Installed")
    await _restarted(t)


@FIRMWARE.case("TC_044_2_CS", "Firmware that cannot be downloaded", requirements="UpdateFirmware")
async def no_firmware(t: StationTest16) -> None:
    """The station reports DownloadFailed."""
    where = f"http://{t.server_name}:9/nothing.bin"
    await t.ask("UpdateFirmware", location=where, retrieveDate=t.now(), retries=1, retryInterval=1)
    await t.expect(_PLAIN, status="DownloadFailed")


@FIRMWARE.case("TC_044_3_CS", "Firmware that cannot be installed", requirements="UpdateFirmware")
async def broken_firmware(t: StationTest16) -> None:
    """The station downloads the firmware, and reports InstallationFailed."""
    goes_through(t, await _plain_update(t, broken=True), "Downloading", "Downloaded", "InstallationFailed")
    await _restarted(t)


async def _restarted(t: StationTest16) -> None:
    """Wait until the station has restarted after an update, if it does so. Raises Failed."""
    await t.until(lambda: not t.connected, RESTARTS_S)
    await t.reconnected()


@FIRMWARE.case("TC_045_1_CS", "Diagnostics are uploaded", requirements="GetDiagnostics", quick=True)
async def diagnostics(t: StationTest16) -> None:
    """The station names a file, uploads it, and reports both states."""
    files, url = await t.file_server()
    answer = await t.ask("GetDiagnostics", location=url + LOGS, retries=0)
    name = answer.get("fileName")
    t.needs(bool(name), "it has no diagnostics")
    states = await _states(t, "DiagnosticsStatusNotification", "Uploaded", "UploadFailed")
    goes_through(t, states, "Uploading", "Uploaded")
    t.check(any(each.body for each in files.uploads), "GetDiagnostics", f"reports Uploaded, and {name} did not come")


@FIRMWARE.case("TC_045_2_CS", "Diagnostics that cannot be uploaded", requirements="GetDiagnostics")
async def no_diagnostics(t: StationTest16) -> None:
    """The station names a file, and reports UploadFailed."""
    where = f"http://{t.server_name}:9/"
    answer = await t.ask("GetDiagnostics", location=where, retries=1, retryInterval=1)
    if not answer.get("fileName"):
        raise NotApplicable("it has no diagnostics")
    await t.expect("DiagnosticsStatusNotification", status="UploadFailed")


async def _security_log(t: StationTest16, where: str) -> list[str]:
    """Have the security log uploaded there; return the states. Raises Failed, NotApplicable."""
    number = t.next_id()
    about = {"logType": "SecurityLog", "requestId": number, "retries": 0}
    try:
        answer = await t.ask("GetLog", log={"remoteLocation": where}, **about)
    except CallError as error:
        raise NotApplicable(str(error)) from None
    t.check(answer["status"] == "Accepted", "GetLog", f"answers {answer['status']}")
    return await _states(t, "LogStatusNotification", "Uploaded", "UploadFailure", number=number)


@SECURITY.case("TC_079_CS", "The security log", requirements="GetLog")
async def security_log(t: StationTest16) -> None:
    """The station uploads the log, and reports both states with the id of the request."""
    files, url = await t.file_server()
    goes_through(t, await _security_log(t, url + LOGS), "Uploading", "Uploaded")
    t.check(any(each.body for each in files.uploads), "GetLog", "reports Uploaded, and no log came")


@SECURITY.case("V2G-03-CS16", "A security log that cannot be uploaded", requirements="GetLog")
async def no_security_log(t: StationTest16) -> None:
    """The station reports UploadFailure with the id of the request."""
    states = await _security_log(t, f"http://{t.server_name}:9/")
    t.check(states[-1] == "UploadFailure", "LogStatusNotification", f"reports {states[-1]}")


_SIGNED: Final = "SignedFirmwareStatusNotification"


async def _signed_update(t: StationTest16, image: bytes, *, right: bool) -> list[str]:
    """Have an image installed whose signature is right or not; return the states. Raises Failed, NotApplicable."""
    with precondition():
        files, firmware = await offer_image(t, await _install(t, MANUFACTURER), image, signed=right)
    number = t.next_id()
    answer = await t.ask("SignedUpdateFirmware", requestId=number, retries=0, firmware=firmware)
    t.check(answer["status"] == "Accepted", "SignedUpdateFirmware", f"answers {answer['status']}")
    states = await _states(t, _SIGNED, "Installed", *_FAILED, number=number)
    t.check(f"GET {IMAGE}" in files.asked, "SignedUpdateFirmware", "does not download the firmware")
    return states


@SIGNED_FIRMWARE.case("TC_080_CS", "Signed firmware is installed", requirements="SignedUpdateFirmware")
async def signed_firmware(t: StationTest16) -> None:
    """The station downloads the firmware, verifies its signature, installs it, and reports each state."""
    states = await _signed_update(t, image_of(t), right=True)
    goes_through(t, states, "Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed")
    await _restarted(t)


@SIGNED_FIRMWARE.case("TC_081_CS", "Firmware with a signature of other firmware", requirements="SignedUpdateFirmware")
async def wrong_signature(t: StationTest16) -> None:
    """The station downloads the firmware, reports InvalidSignature, and a security event."""
    t.equal((await _signed_update(t, b"not firmware", right=False))[-1], "InvalidSignature", _SIGNED, "reports {}")
    await _event(t, "InvalidFirmwareSignature")


@SIGNED_FIRMWARE.case("V2G-04-CS16", "Firmware with an untrusted certificate", requirements="SignedUpdateFirmware")
async def untrusted_firmware(t: StationTest16) -> None:
    """The station answers InvalidCertificate or RevokedCertificate, and reports a security event."""
    signer = Authority(MANUFACTURER, t.now()).signer()
    firmware = {
        "location": f"http://{t.server_name}:9/nothing.bin", "retrieveDateTime": t.later(-60),
        "signingCertificate": signer.pem, "signature": base64.b64encode(signer.sign(b"")).decode(),
    }  # fmt: skip
    about = {"requestId": t.next_id(), "retries": 0, "firmware": firmware}
    await t.says("SignedUpdateFirmware", "InvalidCertificate", "RevokedCertificate", **about)
    await _event(t, "InvalidFirmwareSigningCertificate")


# -- passwords and roots


@SECURITY.case("TC_085_CS", "HTTP basic authentication", requirements=("Profile 1",))
async def basic_authentication(t: StationTest16) -> None:
    """The station connects with its identity as user name, and a password of 16 to 40 octets."""
    t.needs(t.opening.security_profile < 3, "it connects with a certificate")
    await _is_secured(t)
    async with t.reconnects():
        await t.disconnect()
    t.shows_password("Profile 1", "Profile 1", "Profile 1", longest=40)


@SECURITY.case("TC_073_CS", "A new password", requirements="AuthorizationKey")
async def new_password(t: StationTest16) -> None:
    """The station accepts it, reconnects, and shows it."""
    before = t.opening.password
    if before is None or len(before) < SHORTEST_PASSWORD:
        raise NotApplicable("it connects without a password, or with one that could not be set again")
    shows = _KEY, bytes.fromhex(_KEY).decode()
    t.hide(before)
    t.allow(*shows)

    async def restore() -> None:
        if t.opening.password != before:
            async with t.reconnects():
                for value in (before, before.encode().hex()):  # as text, and as hexadecimal digits
                    answer = await t.ask("ChangeConfiguration", key="AuthorizationKey", value=value)
                    if answer["status"] != "Rejected":
                        break
                await t.disconnect()

    t.undo(restore)
    async with t.reconnects():
        await t.says("ChangeConfiguration", "Accepted", "RebootRequired", key="AuthorizationKey", value=_KEY)
        await t.disconnect()
    t.check(t.opening.password in shows, "AuthorizationKey", "shows another password")


_KEY: Final = "41424344454647484950515253545556"
"""Letters and digits, whether it is taken as text or as hex."""


@SECURITY.case("V2G-02-CS16", "The password cannot be read", requirements="AuthorizationKey", quick=True)
async def unreadable(t: StationTest16) -> None:
    """The station tells no value of AuthorizationKey."""
    t.check(not await t.read("AuthorizationKey"), "AuthorizationKey", "tells its password")


def _case_of_root(number: str, kind: str) -> None:
    @SECURITY.case(
        f"TC_{number}_CS", f"Install a {kind}", requirements=("InstallCertificate", "DeleteCertificate"),
        required="The station installs the root, lists it, and deletes it.",
    )  # fmt: skip
    async def script(t: StationTest16) -> None:
        pem = Authority(CSMS, t.now()).pem
        before = await given(_hashes(t, kind))
        await t.says("InstallCertificate", "Accepted", certificateType=kind, certificate=pem)
        added = [each for each in await _hashes(t, kind) if each not in before]
        t.check(len(added) == 1, "GetInstalledCertificateIds", f"lists {len(added)} new certificates")
        await t.says("DeleteCertificate", "Accepted", certificateHashData=added[0])
        await t.says("DeleteCertificate", "NotFound", certificateHashData=added[0])


async def _hashes(t: StationTest16, kind: str) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = (await t.ask("GetInstalledCertificateIds", certificateType=kind)).get(
        "certificateHashData", []
    )
    return found


_case_of_root("075_1", MANUFACTURER)
_case_of_root("075_2", _KINDS[CSMS])


# -- TLS


@SECURITY.case("TC_086_CS", "TLS with a valid certificate of the back end", requirements=("Profile 2",))
async def tls(t: StationTest16) -> None:
    """The station connects with TLS 1.2 or 1.3, and offers the cipher suites that are mandatory."""
    _needs_tls(t)
    async with t.reconnects():
        await t.disconnect()
    shown = t.opening
    t.check(shown.tls in ("TLSv1.2", "TLSv1.3"), "Profile 2", f"connects with {shown.tls}")
    t.check(any(pair <= shown.suites for pair in SUITES), "Profile 2", f"offers only {', '.join(sorted(shown.suites))}")


@SECURITY.case("TC_078_CS", "TLS with an invalid certificate of the back end", requirements=("Profile 2",))
async def invalid_certificate(t: StationTest16) -> None:
    """The station does not connect, and reports InvalidCentralSystemCertificate once it can."""
    _needs_tls(t)
    name, stranger = t.server_name, Authority(CSMS, t.now())
    wrong = [("an unknown authority", stranger.server(name))]
    if not await t.is_true("AdditionalRootCertificateCheck"):
        root = await _install(t, CSMS)
        wrong += [("the past", root.server(name, last_day=-1)), ("another host", root.server("another.example"))]
    for what, context in wrong:
        await rejects(t, context, "Profile 2", f"a certificate of {what}")
        await _event(t, "InvalidCentralSystemCertificate")


@SECURITY.case("V2G-05-CS16", "TLS version too low", requirements=("Profile 2",))
async def old_version(t: StationTest16) -> None:
    """The station does not connect with TLS 1.1."""
    _needs_tls(t)
    checked = await t.is_true("AdditionalRootCertificateCheck")
    root = Authority(CSMS, t.now()) if checked else await _install(t, CSMS)
    await rejects(t, outdated(root.server(t.server_name)), "Profile 2", "TLS 1.1")


def _needs_tls(t: StationTest16) -> None:
    t.needs(t.opening.tls is not None, "it connects without TLS")


@SECURITY.case("TC_087_CS", "TLS with the station's certificate", requirements=("Profile 3",))
async def own_certificate(t: StationTest16) -> None:
    """The certificate names the station, has a serial number, and a key that is long enough."""
    certificate = _certificate(t)
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    answer = await t.ask("TriggerMessage", requestedMessage="BootNotification")
    boot = await t.expect("BootNotification") if answer["status"] == "Accepted" else {}
    own = len(names) == 1 and names[0] in (boot.get("chargePointSerialNumber"), t.identity)
    t.check(own, "Profile 3", f"the certificate is of {', '.join(names) or 'no host'}")
    t.check(certificate.serial_number > 0, "Profile 3", "the certificate has no serial number")
    has_long_key(t, certificate.public_key())


def _certificate(t: StationTest16) -> x509.Certificate:
    """Return the certificate that the station shows. Raises NotApplicable."""
    t.needs(t.opening.security_profile == 3, "it connects without a certificate of its own")
    return x509.load_der_x509_certificate(t.opening.certificate or b"")


# -- certificates of the station


async def _requested(t: StationTest16) -> str:
    """Let the station ask for a certificate of its own; return its request, PEM. Raises Failed."""
    await t.says("ExtendedTriggerMessage", "Accepted", requestedMessage="SignChargePointCertificate")
    csr: str = (await t.expect("SignCertificate"))["csr"]
    is_sound_request(t, csr, "SignCertificate")
    return csr


@SECURITY.case("TC_074_CS", "A new certificate", requirements="SignCertificate CertificateSigned")
async def new_certificate(t: StationTest16) -> None:
    """The station asks for a certificate of a new key, takes it, and connects with it."""
    old, authority = _certificate(t).public_key(), t.needs_authority()
    csr = await _requested(t)
    new = x509.load_pem_x509_csr(csr.encode()).public_key()
    t.check(new != old, "SignCertificate", "asks for a certificate of the key that it has")
    async with t.reconnects():
        await t.says("CertificateSigned", "Accepted", certificateChain=authority.signed(csr))
    t.check(_certificate(t).public_key() == new, "CertificateSigned", "connects with the old certificate")


@SECURITY.case("TC_077_CS", "A new certificate that is invalid", requirements="CertificateSigned")
async def invalid_new_certificate(t: StationTest16) -> None:
    """The station rejects it, and reports InvalidChargePointCertificate."""
    _certificate(t)
    wrong: dict[str, Callable[[str], str]] = {"of an unknown authority": Authority(CSMS, t.now()).signed}
    if (authority := t.authority) is not None:
        wrong["that has expired"] = lambda csr: authority.signed(csr, last_day=-1)
        wrong["of another key"] = lambda _: authority.leaf()
    for what, sign in wrong.items():
        csr = await given(_requested(t))
        status = (await t.ask("CertificateSigned", certificateChain=sign(csr)))["status"]
        t.check(status == "Rejected", "CertificateSigned", f"answers {status} to a certificate {what}")
        await _event(t, "InvalidChargePointCertificate")


# -- security profiles


@SECURITY.case("TC_084_CS", "A lower security profile", requirements="SecurityProfile")
async def downgrade(t: StationTest16) -> None:
    """The station rejects it."""
    await _is_secured(t)
    await t.says("ChangeConfiguration", "Rejected", key="SecurityProfile", value="0")


async def _is_secured(t: StationTest16) -> None:
    t.needs(await t.read("SecurityProfile") != "0", "its SecurityProfile is 0")


@SECURITY.case(
    "TC_083_CS", "A higher security profile", requirements="SecurityProfile",
    needs=("SecurityProfile", "security upgrade"),
)  # fmt: skip
async def upgrade(t: StationTest16) -> None:
    """The station connects with the higher security profile after a reset, to the same address. For good."""
    level = t.opening.security_profile + 1
    t.needs(level <= 3, "it has the highest security profile")
    with precondition():
        root = await _install(t, CSMS, stays=True)
        clients = t.needs_authority() if level == 3 else None
        if clients is not None:
            signed: Payload = {"certificateChain": clients.signed(await _requested(t))}
            await t.says("CertificateSigned", "Accepted", **signed)
    about = {"key": "SecurityProfile", "value": str(level)}
    await t.says("ChangeConfiguration", "Accepted", "RebootRequired", **about)
    await t.says("Reset", "Accepted", type="Hard")
    async with t.reconnects():
        await t.secure(root.server(t.server_name, clients=clients))
    t.equal(t.opening.security_profile, level, "SecurityProfile", "connects with security profile {}")
    t.equal(await t.read("SecurityProfile"), str(level), "SecurityProfile", "tells {}")
