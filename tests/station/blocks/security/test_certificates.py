"""Functional blocks M and A, certificates and security, of our station, beyond the cases of the test lab."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.station.bench import Bench
from tests.station.certificates import ROOT, Authority, install, pem
from tests.station.reports import PROFILE
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.ocpp.routes import Version
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.security.certificate_store import RootsChanged
from v2g_station.blocks.security.certificates import KeepStatus
from v2g_station.blocks.security.signing import CertificateTaken, ChainFound, MakeRequest, RequestMade, UseCertificate


def installed(found: Bench, *uses: str) -> list[dict[str, Any]] | str:
    """Which certificates are installed."""
    answer = found.ask("GetInstalledCertificateIds", {"certificateType": list(uses)} if uses else {})
    return answer["certificateHashDataChain"] if answer["status"] == "Accepted" else str(answer["status"])


USES = ("CSMSRootCertificate", "ManufacturerRootCertificate", "V2GRootCertificate", "MORootCertificate")


def test_a_root_is_stored_for_each_of_its_uses() -> None:
    found = Bench()
    for use in USES:
        assert install(found, use) == "Accepted"
        assert RootsChanged(use=use, pem=(ROOT.pem,)) in found.commands  # type: ignore[arg-type]
    found.power_loss()
    for use in USES:
        (entry,) = installed(found, use)
        assert isinstance(entry, dict)
        assert entry["certificateType"] == use
        assert int(entry["certificateHashData"]["serialNumber"], 16) == ROOT.certificate.serial_number
    assert len(installed(found, *USES[:2])) == 2
    assert len(installed(found)) == 4


EXPIRED = pem(ROOT.sign(ROOT.name, ROOT.key.public_key(), ca=True, days=-1))


@pytest.mark.parametrize("text", ["no certificate", EXPIRED], ids=["no certificate", "expired"])
def test_install_invalid(text: str) -> None:
    found = Bench()
    assert install(found, text=text) == "Rejected"
    assert installed(found) == "NotFound"


def test_the_last_root_that_is_valid_is_not_deleted() -> None:
    """M04.FR.03: with one that has expired beside it the CSMS could not be verified any more."""
    secure = first_profile("wss://csms.example/ocpp", security_profile=2, message_timeout=30)
    found = Bench("2.1", network=secure)
    short = ROOT.sign(ROOT.name, ROOT.key.public_key(), ca=True, days=1)
    assert install(found, text=pem(short)) == install(found, text=Authority("Successor").pem) == "Accepted"
    found.wait(2 * 86_400)
    entries = [each["certificateHashData"] for each in installed(found, "CSMSRootCertificate")]  # type: ignore[index]
    deleted = {each["serialNumber"]: each for each in entries}
    old = deleted.pop(f"{short.serial_number:x}")
    (new,) = deleted.values()
    assert found.ask("DeleteCertificate", certificateHashData=new)["status"] == "Failed"
    assert found.ask("DeleteCertificate", certificateHashData=old)["status"] == "Accepted"


def test_a_certificate_that_is_no_authoritys_is_not_installed() -> None:
    assert install(Bench(), text=pem(ROOT.sign(ROOT.name, ROOT.key.public_key()))) == "Rejected"


def test_tc_m_09_cs_install_root_that_the_old_one_has_not_signed() -> None:
    found = Bench(variables={"SecurityCtrlr.AdditionalRootCertificateCheck": "true"})
    assert install(found) == "Accepted"
    assert install(found, text=Authority("Stranger").pem) == "Rejected"
    assert len(installed(found, "CSMSRootCertificate")) == 1
    assert install(found, text=Authority("Successor", ROOT).pem) == "Accepted"


# -- the station's own


class Key:
    """The station's key, which the hardware keeps."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CS-1")])

    def csr(self) -> str:
        """A request for its certificate."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(self.name)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def signed(self, by: Authority = ROOT, **options: Any) -> str:
        """Its certificate."""
        return pem(by.sign(self.name, self.key.public_key(), **options))


def asked(found: Bench, trigger: str = "SignChargingStationCertificate", curve: ec.EllipticCurve | None = None) -> Key:
    """The CSMS has made the station ask for a certificate."""
    install(found)
    install(found, "V2GRootCertificate")
    found.clear()
    assert found.ask("TriggerMessage", requestedMessage=trigger)["status"] == "Accepted"
    (order,) = [each for each in found.commands if isinstance(each, MakeRequest)]
    assert order.common_name == "CS-1"
    key = Key(curve)
    found.fact(RequestMade(use=order.use, csr=key.csr()))
    request = found.expect("SignCertificate", certificateType=trigger.removeprefix("Sign"))
    assert x509.load_pem_x509_csr(request["csr"].encode()).is_signature_valid
    return key


@pytest.mark.parametrize("organization", ["", "John Doe Charging Services Ltd"])
def test_names_of_the_certificate_towards_vehicles_are_those_of_iso15118ctrlr(organization: str) -> None:
    """2.16.7 to 2.16.9 of part 2; the station's own has that of SecurityCtrlr (2.2.3)."""
    found = Bench()
    assert found.set("SecurityCtrlr", "OrganizationName", "CPO") == "Accepted"
    values = {"SeccId": "DE-ICE-S-0003C4D5578786756453309675436-2", "CountryName": "DE"}
    for name, value in (values | ({"OrganizationName": organization} if organization else {})).items():
        assert found.set("ISO15118Ctrlr", name, value) == "Accepted"
    assert found.set("ISO15118Ctrlr", "CountryName", "Germany") == "Rejected"
    assert found.set("ISO15118Ctrlr", "SeccId", 65 * "x") == "Rejected"
    for trigger in ("SignV2GCertificate", "SignChargingStationCertificate"):
        assert found.ask("TriggerMessage", requestedMessage=trigger)["status"] == "Accepted"
    towards_vehicles, own = (each for each in found.commands if isinstance(each, MakeRequest))
    assert towards_vehicles == MakeRequest(
        use="V2GCertificate", common_name="CS-1", secc_id=values["SeccId"], organization=organization or "CPO",
        country="DE",
    )  # fmt: skip
    assert own == MakeRequest(use="ChargingStationCertificate", common_name="CS-1", organization="CPO")


def give(found: Bench, chain: str, use: str = "ChargingStationCertificate") -> str:
    """Deliver a chain."""
    status: str = found.ask("CertificateSigned", certificateChain=chain, certificateType=use)["status"]
    return status


@pytest.mark.parametrize("use", ["ChargingStationCertificate", "V2GCertificate"])
@pytest.mark.parametrize(("days", "due_after"), [(90, 60), (40, 13), (-1, 0)])
def test_a_certificate_is_renewed_in_time(use: str, days: int, due_after: int) -> None:
    """A03.FR.02: a month before its end, of a shorter one than 90 days a third of it."""
    found = Bench(chains={use: Key().signed(days=days)})
    if due_after:
        found.wait((due_after - 1) * 86_400)
        assert not [each for each in found.commands if isinstance(each, MakeRequest)]
        found.wait(2 * 86_400)
    (order,) = [each for each in found.commands if isinstance(each, MakeRequest)]
    key = Key()
    found.fact(RequestMade(use=order.use, csr=key.csr()))
    found.expect("SignCertificate", certificateType=use)
    found.wait(2 * 86_400)
    assert len([each for each in found.commands if isinstance(each, MakeRequest)]) == 1, "it is on its way"


@pytest.mark.parametrize("use", ["ChargingStationCertificate", "V2GCertificate"])
def test_a_chain_that_was_replaced_in_its_files_is_renewed_in_its_own_time(use: CertificateSigningUse) -> None:
    due, good = Key().signed(days=10), Key().signed(days=90)
    found = Bench(chains={use: due})
    (order,) = [each for each in found.commands if isinstance(each, MakeRequest)]
    assert order.renews == due
    found.fact(ChainFound(use=use, chain=good))
    found.wait(55 * 86_400)
    assert len([each for each in found.commands if isinstance(each, MakeRequest)]) == 1
    found.wait(10 * 86_400)
    assert {each.renews for each in found.commands if isinstance(each, MakeRequest)} == {due, good}


@pytest.mark.parametrize(("version", "wanted"), [("2.1", "V2G20Certificate"), ("2.0.1", "V2GCertificate")])
def test_a_certificate_of_iso_15118_20_is_requested_as_such(version: Version, wanted: str) -> None:
    """A02.FR.22, .23: a CA signs by the edition's profile. 2.0.1 has one type for both."""
    chain = Key(ec.SECP521R1()).signed(days=90)
    found = Bench(version, chains={"V2GCertificate": chain})
    if wanted == "V2G20Certificate":
        assert found.ask("TriggerMessage", requestedMessage="SignV2GCertificate")["status"] == "Rejected"
    key = asked(found, f"Sign{wanted}", curve=ec.SECP521R1())
    assert give(found, key.signed(), wanted) == "Accepted"
    assert [each.use for each in found.commands if isinstance(each, UseCertificate)] == ["V2GCertificate"]


def test_a_certificate_towards_vehicles_is_not_renewed_where_the_csms_says_so() -> None:
    off = {"ISO15118Ctrlr.V2GCertificateInstallationEnabled": "false"}
    found = Bench(chains={"V2GCertificate": Key().signed(days=1)}, variables=off)
    assert found.ask("TriggerMessage", requestedMessage="SignV2GCertificate")["status"] == "Rejected"
    found.wait(2 * 86_400)
    assert not [each for each in found.commands if isinstance(each, MakeRequest)]


def test_a_certificate_that_is_due_when_it_is_signed_is_renewed_once_a_day() -> None:
    found = Bench("2.1", network=SECURE, chains={"ChargingStationCertificate": Key().signed(days=2)})
    install(found)
    for day in (1, 2):
        made = [each for each in found.commands if isinstance(each, MakeRequest)]
        assert len(made) == day
        key = Key()
        found.fact(RequestMade(use=made[-1].use, csr=key.csr()))
        assert give(found, key.signed(days=2)) == "Accepted"
        found.fact(CertificateTaken(use="ChargingStationCertificate"))
        found.wait(3_600)
        assert found.connected
        assert len([each for each in found.commands if isinstance(each, MakeRequest)]) == day
        found.wait(86_400)


def test_a_request_outlives_a_restart() -> None:
    """A CA may take days; the key waits beside the one in use."""
    found = Bench("2.1")
    key = asked(found)
    request = found.all("SignCertificate")[-1]
    found.power_loss()
    assert found.expect("SignCertificate") == request
    chain = key.signed()
    assert 0 <= request["requestId"] < 2**31, "an integer of OCPP"
    for number, status in ((request["requestId"] + 1, "Rejected"), (request["requestId"], "Accepted")):
        delivered = {"certificateChain": chain, "certificateType": "ChargingStationCertificate", "requestId": number}
        assert found.ask("CertificateSigned", delivered)["status"] == status, "A02.FR.26"
    assert UseCertificate(use="ChargingStationCertificate", chain=chain) in found.commands
    found.clear()
    found.power_loss()
    found.nothing("SignCertificate")


SECURE = first_profile("wss://csms.example/ocpp", security_profile=3, message_timeout=30)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_certificate_that_does_not_connect_is_replaced_by_the_one_before(*, restarts: bool) -> None:
    """A02.FR.28, .29: else the station would be stranded."""
    old = Key().signed(days=90)
    found = Bench("2.1", network=SECURE, chains={"ChargingStationCertificate": old})
    new = asked(found).signed()
    assert give(found, new) == "Accepted"
    found.accepting = lambda _: found.commands[-1] == UseCertificate(use="ChargingStationCertificate", chain=old)
    found.fact(CertificateTaken(use="ChargingStationCertificate"))
    if restarts:
        found.settings["chains"] = {"ChargingStationCertificate": new}
        found.power_loss()
    found.wait(600)
    assert found.connected
    found.expect("SecurityEventNotification", type="DiscardedRenewedClientCertificate")
    found.commands.clear()
    found.drop()
    found.wait(600)
    assert found.commands == []


@pytest.mark.parametrize(("ahead_s", "taken"), [(299, True), (301, False)])
def test_a_certificate_of_a_ca_whose_clock_is_ahead_is_used_when_it_begins(ahead_s: int, taken: bool) -> None:
    """No back end would take it before; one that refuses it would have it issued again, and wrong again."""
    found = Bench("2.1", network=SECURE, chains={"ChargingStationCertificate": Key().signed(days=90)})
    key = asked(found)
    begin = datetime.fromtimestamp(found.utc_ms / 1000, UTC) + timedelta(seconds=ahead_s)
    assert give(found, key.signed(begin=begin)) == ("Accepted" if taken else "Rejected")
    if taken:
        found.fact(CertificateTaken(use="ChargingStationCertificate"))
        before = len(found.connects)
        found.wait(ahead_s - 30)
        assert len(found.connects) == before
        found.wait(60)
        assert len(found.connects) == before + 1


@pytest.mark.parametrize(("path_length", "answer"), [(0, "Rejected"), (1, "Accepted"), (None, "Accepted")])
def test_the_ca_of_the_certificate_in_use_renews_it_as_far_as_it_may(path_length: int | None, answer: str) -> None:
    """Which need not be below a root of the CSMS (RFC 5280 6.1.4 (l))."""
    root = Authority("Maker")
    sub = Authority("Maker's sub-CA", root)
    limited = root.sign(root.name, root.key.public_key(), ca=True, path_length=path_length)
    old = Key().signed(by=root) + pem(limited)
    found = Bench("2.1", network=SECURE, chains={"ChargingStationCertificate": old})
    assert give(found, asked(found).signed(by=sub) + pem(sub.certificate)) == answer


def test_a_certificate_that_has_connected_stays() -> None:
    old = Key().signed(days=90)
    found = Bench("2.1", network=SECURE, chains={"ChargingStationCertificate": old})
    assert give(found, asked(found).signed()) == "Accepted"
    found.fact(CertificateTaken(use="ChargingStationCertificate"))
    assert found.connected
    found.commands.clear()
    found.drop()
    found.wait(3_600)
    assert found.commands == []


def test_tc_m_15_cs_list_v2g_chain() -> None:
    found = Bench()
    assert installed(found, "V2GCertificateChain") == "NotFound"
    assert give(found, asked(found, "SignV2GCertificate").signed(), "V2GCertificate") == "Accepted"
    (entry,) = installed(found, "V2GCertificateChain")
    assert entry["certificateType"] == "V2GCertificateChain"
    assert installed(found, "MORootCertificate") == "NotFound"


def kept(found: Bench) -> list[str]:
    """The OCSP responses that the hardware was given."""
    return [each.ocsp for each in found.commands if isinstance(each, KeepStatus)]


def renewed(answer: Any) -> tuple[Bench, str]:
    """A station that asks about its new V2G certificate; return it, and the serial number."""
    found = Bench()
    found.answers["GetCertificateStatus"] = answer
    install(found, "V2GRootCertificate")
    chain = asked(found, "SignV2GCertificate").signed(responder="http://ocsp.example")
    assert give(found, chain, "V2GCertificate") == "Accepted"
    request = found.expect("GetCertificateStatus")["ocspRequestData"]
    assert request["responderURL"] == "http://ocsp.example"
    serial = int(request["serialNumber"], 16)
    assert serial == x509.load_pem_x509_certificate(chain.encode()).serial_number
    found.nothing("GetCertificateStatus")
    return found, request["serialNumber"]


def test_certificate_status() -> None:
    found, serial = renewed({"status": "Accepted", "ocspResult": "MAo="})
    assert kept(found) == ["MAo="]
    found.power_loss()
    found.wait(12 * 3_600)
    found.nothing("GetCertificateStatus")
    found.wait(12 * 3_600)
    assert found.expect("GetCertificateStatus")["ocspRequestData"]["serialNumber"] == serial


@pytest.mark.parametrize(
    "responder", [b"\x01\x02", bytes.fromhex("3010300e06082b06010505073001a3023000")], ids=["no DER", "X.400 address"]
)
def test_a_chain_with_an_unreadable_responder_is_no_obstacle(responder: bytes) -> None:
    found = Bench()
    chain = asked(found, "SignV2GCertificate").signed(responder=responder)
    assert give(found, chain, "V2GCertificate") == "Accepted"
    found.power_loss()
    found.nothing("GetCertificateStatus")
    found.wait(86_400)
    assert found.all("Heartbeat")


def test_certificate_status_failed() -> None:
    found, serial = renewed({"status": "Failed"})
    assert kept(found) == []
    found.answers["GetCertificateStatus"] = {"status": "Accepted", "ocspResult": "MAo="}
    found.wait(86_400)
    assert found.expect("GetCertificateStatus")["ocspRequestData"]["serialNumber"] == serial
    assert kept(found) == ["MAo="]


def test_new_password() -> None:
    found = Bench()
    found.connects.clear()
    assert found.set("SecurityCtrlr", "BasicAuthPassword", "a-much-better-password") == "Accepted"
    assert found.connects[-1].password == "a-much-better-password"
    assert "a-much-better-password" not in repr(found.connects[-1])
    assert not any("a-much-better-password" in str(event.data) for event in found.observed)


def upgrade(found: Bench, level: int) -> str:
    """Want a higher security profile."""
    data = PROFILE | {"securityProfile": level, "ocppCsmsUrl": "wss://csms.example/ocpp"}
    assert found.ask("SetNetworkProfile", configurationSlot=2, connectionData=data)["status"] == "Accepted"
    return found.set("OCPPCommCtrlr", "NetworkConfigurationPriority", "2")


def test_tc_b_47_cs_falls_back_to_the_csms_with_the_old_root() -> None:
    found = Bench(variables={"OCPPCommCtrlr.NetworkProfileConnectionAttempts": "2"})
    install(found)
    install(found, text=Authority("New root").pem)
    upgrade(found, 2)
    found.connects.clear()
    found.accepting = lambda connect: connect.slot == 1
    found.ask("Reset", type="OnIdle")
    found.wait(60)
    assert [connect.slot for connect in found.connects] == [2, 2, 1]
    found.expect("BootNotification", reason="RemoteReset")
