"""Functional block A, security: cases of passwords, TLS and certificates for charging stations."""

import contextlib
import ssl
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from v2g_testkit.ocpp.case import Block, Ended, Failed, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.certificates import Authority, outdated
from v2g_testkit.ocpp.station_cases import roots
from v2g_testkit.ocpp.station_cases.steps import PRIORITY, all_connectors, boot, leave, offer, reset
from v2g_testkit.ocpp.station_tester import SHORTEST_PASSWORD, StationTest

A: Final[Block[StationTest]] = Block()
A_15118: Final = A.having(profiles=("ISO 15118 Support",), needs=("ISO15118Ctrlr.Enabled",))
A_SECURED: Final = A.having(profiles=("Advanced Security",))

VARIABLE: Final = ("SecurityCtrlr", "BasicAuthPassword")
PASSWORD: Final = "v2g-conformance-2-of-2"  # noqa: S105 - for the length of a case
SHORT: Final = PASSWORD[: SHORTEST_PASSWORD - 1]


LONGEST: Final = {"2.0.1": 40, "2.1": 64}
"""Longest password."""
SUITES: Final = (
    {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"AES128-GCM-SHA256", "AES256-GCM-SHA384"},
)
"""A station has one of these pairs, by the names of OpenSSL (A00.FR.319)."""


@A.case("TC_A_01_CS", "HTTP basic authentication", also="A00.FR.202 A00.FR.301 A00.FR.302 A00.FR.304")
async def basic_authentication(t: StationTest) -> None:
    """The station connects with its identity as user name, and a password of at least 16 characters."""
    t.needs(t.opening.security_profile < 3, "it connects with a certificate")
    async with t.reconnects():
        await t.disconnect()
    t.shows_password("A00.FR.203", "A00.FR.204", "A00.FR.205", longest=LONGEST[t.version])


# -- TLS


@A.case(
    "TC_A_04_CS", "TLS with a valid certificate of the back end",
    requirements="A00.FR.312 A00.FR.313 A00.FR.319 A00.FR.416 A00.FR.422", quick=True,
)  # fmt: skip
async def tls(t: StationTest) -> None:
    """The station connects with TLS 1.2 or 1.3, and offers the cipher suites that are mandatory."""
    _needs_tls(t)
    await given(reset(t))
    await all_connectors(t, "Available", "B01.FR.05")
    shown = t.opening
    t.check(shown.tls in ("TLSv1.2", "TLSv1.3"), "A00.FR.313", f"connects with {shown.tls}")
    offers = any(pair <= shown.suites for pair in SUITES)
    t.check(offers, "A00.FR.319", f"offers only {', '.join(sorted(shown.suites))}")


@A.case(
    "TC_A_05_CS",
    "TLS with an invalid certificate of the back end",
    also="A00.FR.308 A00.FR.309 A00.FR.412 A00.FR.413 A00.FR.414",
)
async def invalid_certificate(t: StationTest) -> None:
    """The station does not connect, and reports InvalidCsmsCertificate once it can."""
    _needs_tls(t)
    name = t.server_name
    wrong = [("an unknown authority", Authority(roots.CSMS, t.now()).server(name))]
    with contextlib.suppress(Ended):  # else its roots cannot be added to
        root = await roots.install(t, roots.CSMS)
        wrong.append(("the past", root.server(name, last_day=-1)))
        wrong.append(("another host", root.server("another.example")))
    for what, context in wrong:
        await rejects(t, context, "A00.FR.311", f"a certificate of {what}")
        event = await t.find(lambda each: each.payload.get("type") == "InvalidCsmsCertificate")
        t.check(event is not None, "A00.FR.310", f"sends no InvalidCsmsCertificate after a certificate of {what}")


@A.case("TC_A_06_CS", "TLS version too low", also="A00.FR.313 A00.FR.314 A00.FR.416 A00.FR.417 A00.FR.419")
async def old_version(t: StationTest) -> None:
    """The station does not connect with TLS 1.1, and does with TLS 1.2 or newer."""
    _needs_tls(t)
    root = Authority(roots.CSMS, t.now())
    with contextlib.suppress(Ended):
        root = await roots.install(t, roots.CSMS)
    await rejects(t, outdated(root.server(t.server_name)), "A00.FR.316", "TLS 1.1")


def _needs_tls(t: StationTest) -> None:
    t.needs(t.opening.tls is not None, "it connects without TLS")


async def rejects(t: StationTest, context: ssl.SSLContext, requirement: str, what: str) -> None:
    """Expect a failing handshake while the tester has this TLS, and the station afterwards."""
    t.forget()
    async with t.served_by(context) as attempts:
        if not await t.until(lambda: attempts.ended or t.connected, t.declared.away_seconds):
            raise Failed("does not try to connect", "B10.FR.03")
        t.check(not t.connected, requirement, f"connects to a back end with {what}")


@A_SECURED.case("TC_A_07_CS", "TLS with the station's certificate", also="A00.FR.401 A00.FR.402 A00.FR.502 A00.FR.503")
async def own_certificate(t: StationTest) -> None:
    """The certificate names the station, has a serial number, and a key that is long enough."""
    _needs_certificate(t)
    with precondition():
        serial = (await reset(t))["chargingStation"].get("serialNumber")
    certificate = x509.load_der_x509_certificate(t.opening.certificate or b"")
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    own = len(names) == 1 and names[0] in (serial, t.identity)
    t.check(own, "A00.FR.511", f"the certificate is of {', '.join(names) or 'no host'}")
    t.check(certificate.serial_number > 0, "A00.FR.508", "the certificate has no serial number")
    roots.has_long_key(t, certificate.public_key())


def _needs_certificate(t: StationTest) -> None:
    t.needs(t.opening.security_profile == 3, "it connects without a certificate of its own")


# -- passwords


def kept(t: StationTest, *others: str) -> str:
    """Return the station's password, which it gets again after the case; let it connect with others, too.

    Raises NotApplicable.
    """
    before = t.opening.password
    if before is None or len(before) < SHORTEST_PASSWORD:
        raise NotApplicable("it connects without a password, or with one that could not be set again")

    async def restore() -> None:
        if t.opening.password != before:
            async with t.reconnects():
                await t.set(*VARIABLE, before)

    t.hide(before)
    t.allow(*others)
    t.undo(restore)
    return before


@A.case("V2G-A-01-CS", "The password cannot be read", requirements="BasicAuthPassword", quick=True)
async def unreadable_password(t: StationTest) -> None:
    """The station says no value of its password, which can be written only."""
    result = await t.get(*VARIABLE)
    if result["attributeStatus"] in ("UnknownComponent", "UnknownVariable"):
        raise NotApplicable("it has no password")
    t.check(not result.get("attributeValue"), "BasicAuthPassword", "shows its password")


@A.case("TC_A_09_CS", "A new password")
async def new_password(t: StationTest) -> None:
    """The station accepts the password, reconnects, and shows it."""
    kept(t, PASSWORD)
    async with t.reconnects():
        status = t.one_of(await t.set(*VARIABLE, PASSWORD), ("Accepted", "RebootRequired"), "A01.FR.02", "answers {}")
        if status == "RebootRequired":
            await t.ask("Reset", type="OnIdle")
    t.check(t.opening.password == PASSWORD, "A01.FR.01", "connects with another password")


def _case_of_length(id: str, what: str, password: Callable[[StationTest], str]) -> None:  # noqa: A002
    @A.case(id, f"A new password that is too {what}")
    async def script(t: StationTest) -> None:
        """The station rejects the password, and shows the one that it had."""
        before = kept(t, password(t))
        status = await t.set(*VARIABLE, password(t))
        async with t.reconnects():
            await t.disconnect()
        t.check(status == "Rejected", "A01.FR.02", f"answers {status}")
        t.check(t.opening.password == before, "A01.FR.01", "connects with another password")


_case_of_length("TC_A_10_CS", "short", lambda _: SHORT)
_case_of_length("V2G-A-02-CS", "long", lambda t: (PASSWORD * 3)[: LONGEST[t.version] + 1])


# -- new certificates


async def _renews(t: StationTest, trigger: str) -> None:
    """Expect that the station asks for a certificate of a new key, and connects with it."""
    _needs_certificate(t)
    authority = t.needs_authority()
    old = x509.load_der_x509_certificate(t.opening.certificate or b"").public_key()
    csr = await roots.requested(t, trigger, roots.OWN)
    new = x509.load_pem_x509_csr(csr.encode()).public_key()
    t.check(new != old, "A02.FR.02", "asks for a certificate of the key that it has")
    async with t.reconnects():
        t.equal(
            await roots.delivered(t, authority.signed(csr)), "Accepted", "A02.FR.06", "answers {} to the certificate"
        )
    shown = x509.load_der_x509_certificate(t.opening.certificate or b"").public_key()
    t.check(shown == new, "A02.FR.08", "connects with the old certificate")


@A_SECURED.case(
    "TC_A_11_CS", "New certificate of the station", also="A02.FR.02 A02.FR.03 A02.FR.06 A02.FR.08 F06.FR.05"
)
async def new_certificate(t: StationTest) -> None:
    """The station asks for a certificate of a new key, takes it, and connects with it."""
    await _renews(t, "SignChargingStationCertificate")


@A_15118.case("TC_A_12_CS", "New V2G certificate", requirements="A02.FR.03 A02.FR.06 A02.FR.13 F06.FR.05")
async def new_v2g_certificate(t: StationTest) -> None:
    """The station asks for a certificate of the type V2GCertificate, and takes it."""
    with precondition():
        root = await roots.install(t, roots.V2G)
        before = await roots.installed(t, "V2GCertificateChain")
    t.undo(lambda: roots.delete_others(t, "V2GCertificateChain", before))
    csr = await roots.requested(t, "SignV2GCertificate", "V2GCertificate")
    status = await roots.delivered(t, root.signed(csr), "V2GCertificate")
    t.check(status == "Accepted", "A02.FR.06", f"answers {status} to the certificate")
    t.check(await roots.installed(t, "V2GCertificateChain") != before, "M03.FR.05", "does not list the certificate")


@A_15118.case("TC_A_13_CS", "New combined certificate", also="A02.FR.02 A02.FR.03 A02.FR.06 A02.FR.08 F06.FR.05")
async def new_combined_certificate(t: StationTest) -> None:
    """The station asks for a certificate of a new key, takes it, and connects with it."""
    await _renews(t, "SignCombinedCertificate")


@A_SECURED.case("TC_A_14_CS", "New certificate that is invalid", also="A02.FR.06")
async def invalid_new_certificate(t: StationTest) -> None:
    """The station rejects the certificate, and reports InvalidChargingStationCertificate."""
    _needs_certificate(t)
    stranger = Authority(roots.CSMS, t.now())
    wrong: dict[str, Callable[[str], str]] = {"of an unknown authority": stranger.signed}
    if (authority := t.authority) is not None:
        wrong["that has expired"] = lambda csr: authority.signed(csr, last_day=-1)
        wrong["of another key"] = lambda _: authority.leaf()
    for what, sign in wrong.items():
        csr = await given(roots.requested(t, "SignChargingStationCertificate", roots.OWN))
        status = await roots.delivered(t, sign(csr))
        t.check(status == "Rejected", "A02.FR.07", f"answers {status} to a certificate {what}")
        await t.expect("SecurityEventNotification", "A02.FR.07", type="InvalidChargingStationCertificate")


@A_SECURED.case(
    "TC_A_15_CS", "Request for a new certificate that is rejected", requirements="A02.FR.03 F06.FR.05 F06.FR.10"
)
async def request_rejected(t: StationTest) -> None:
    """The station asks for a certificate, and continues with the one that it has."""
    _needs_certificate(t)
    before = t.opening.certificate
    t.answer("SignCertificate", {"status": "Rejected"})
    await roots.requested(t, "SignChargingStationCertificate", roots.OWN)
    async with t.reconnects():
        await t.disconnect()
    t.check(t.opening.certificate == before, "A02.FR.08", "connects with another certificate")


@A_SECURED.case("TC_A_23_CS", "Request for a new certificate that is not answered", requirements="A02.FR.17 A02.FR.18")
async def asks_again(t: StationTest) -> None:
    """The station asks again after CertSigningWaitMinimum, and then after twice that time."""
    _needs_certificate(t)
    wait_s = 6
    with precondition():
        await t.demand("SecurityCtrlr", "CertSigningWaitMinimum", str(wait_s))
        await t.demand("SecurityCtrlr", "CertSigningRepeatTimes", "2")
    csr = await roots.requested(t, "SignChargingStationCertificate", roots.OWN)
    for pause_s in (wait_s, 2 * wait_s):
        await t.nothing("SignCertificate", "A02.FR.18", within=pause_s - 1)
        again = await t.expect("SignCertificate", "A02.FR.17", within=t.after(1))
        csr = again["csr"]  # it may be for a new key
    if t.authority is not None:
        async with t.reconnects():
            status = await roots.delivered(t, t.authority.signed(csr))
            t.check(status == "Accepted", "A02.FR.06", f"answers {status} to the certificate")


# -- security profiles


async def _refuses_priority(t: StationTest, level: int, requirement: str) -> None:
    """Expect that a slot with a security profile cannot be put first."""
    before = await t.value(*PRIORITY)
    with precondition():
        slot, answer = await offer(t, f"wss://{t.opening.host}/ocpp", level)
        t.check(answer["status"] == "Accepted", "B09.FR.01", f"answers {answer['status']} to the network profile")
    await t.keep(*PRIORITY)
    t.equal(await t.write(*PRIORITY, f"{slot},{before}"), "Rejected", requirement, "answers {}")


@A.case("TC_A_20_CS", "Higher security profile without a root of the back end")
async def upgrade_without_root(t: StationTest) -> None:
    """The station refuses a slot with security profile 2 while it has no CSMSRootCertificate."""
    t.needs(t.opening.tls is None, "it uses TLS already")
    t.needs(not await roots.installed(t, roots.CSMS), "it has a CSMSRootCertificate")
    await _refuses_priority(t, 2, "A05.FR.02")


@A.case(
    "TC_A_21_CS", "Higher security profile without a certificate of the station", profiles=("Advanced Security",),
    needs=("no station certificate",),
)  # fmt: skip
async def upgrade_without_certificate(t: StationTest) -> None:
    """The station refuses a slot with security profile 3 while it has no ChargingStationCertificate."""
    t.needs(t.opening.security_profile < 3, "it has a certificate")
    if not await roots.installed(t, roots.CSMS):
        await given(roots.install(t, roots.CSMS))
    await _refuses_priority(t, 3, "A05.FR.03")


@A.case("TC_A_22_CS", "Lower security profile")
async def downgrade(t: StationTest) -> None:
    """The station rejects a network profile with a lower security profile."""
    level = t.opening.security_profile - 1
    t.needs(level > 0, "it has the lowest security profile")
    t.needs(level == 1 or not t.has("SecurityCtrlr.AllowSecurityProfileDowngrade"), "it allows to go back to 2")
    scheme = "ws" if level == 1 else "wss"
    _, answer = await offer(t, f"{scheme}://{t.opening.host}/ocpp", level)
    t.check(answer["status"] == "Rejected", "B09.FR.04", f"answers {answer['status']}")


@A.case(
    "TC_A_19_CS", "Higher security profile", requirements="A05.FR.04 A05.FR.05 A05.FR.06", needs=("security upgrade",)
)
async def upgrade(t: StationTest) -> None:
    """The station connects with the higher security profile, and removes profiles that are lower. For good."""
    level = t.opening.security_profile + 1
    t.needs(level <= 3, "it has the highest security profile")
    before = await t.value(*PRIORITY)
    with precondition():
        root = await _stays(t)
        if level == 3:
            authority: Authority | None = t.needs_authority()
            csr = await roots.requested(t, "SignChargingStationCertificate", roots.OWN)
            assert authority is not None
            await roots.delivered(t, authority.signed(csr))
        else:
            authority = None
        url, host = await t.listen_also(root.server(t.server_name, clients=authority), stays=True)
        slot, answer = await offer(t, url, level)
        t.check(answer["status"] == "Accepted", "B09.FR.01", f"answers {answer['status']} to the network profile")
    t.one_of(await t.write(*PRIORITY, f"{slot},{before}"), ("Accepted", "RebootRequired"), "A05.FR.04", "answers {}")
    await leave(t)
    await t.reconnected("A05.FR.05")
    await boot(t, "A05.FR.05")
    t.check(t.opening.host == host, "A05.FR.05", f"connects to {t.opening.host}")
    t.check(t.opening.security_profile == level, "A05.FR.05", f"uses security profile {t.opening.security_profile}")
    t.equal(await t.value("SecurityCtrlr", "SecurityProfile"), str(level), "A05.FR.06", "SecurityProfile is {}")
    order = (await t.value(*PRIORITY)).split(",")
    t.check(not set(order) & set(before.split(",")), "A05.FR.06", f"NetworkConfigurationPriority is {','.join(order)}")


async def _stays(t: StationTest) -> Authority:
    """Install a root of the back end for good; return its authority. Raises Failed."""
    root = Authority(roots.CSMS, t.now())
    answer: Payload = await t.ask("InstallCertificate", certificateType=roots.CSMS, certificate=root.pem)
    t.check(answer["status"] == "Accepted", "M05.FR.02", f"answers {answer['status']} to a root")
    return root
