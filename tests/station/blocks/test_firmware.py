"""Functional block L, firmware, of our station, beyond the cases of the test lab."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Use
from msgspec.structs import replace

from tests.station.bench import Bench, at
from tests.station.certificates import ROOT, Authority, install, key_usage, pem
from tests.station.updates import CERTIFICATE, IMAGE, KEY, NAME, SIGNATURE, update
from tests.together import together
from v2g.ota.window import parse_window
from v2g_station.blocks.firmware import (
    Activate,
    CancelFirmware,
    ConfirmInstall,
    DownloadFirmware,
    FirmwareProgress,
    Install,
)

DIGEST = hashlib.sha256(IMAGE).digest()


def reported(found: Bench, *statuses: str) -> None:
    """The CSMS has received these, in this order, and no other."""
    received = [payload["status"] for name, payload in found.unread if name == "FirmwareStatusNotification"]
    assert received == list(statuses)
    found.clear()


def wanted(found: Bench) -> dict[str, Any]:
    """Return the firmware of an update at once."""
    place = {"location": "https://csms.example/fw.bin", "retrieveDateTime": at(found.utc_ms)}
    return place | {"signingCertificate": CERTIFICATE, "signature": SIGNATURE}


def fetched(found: Bench, digest: bytes = DIGEST) -> None:
    """The image is there."""
    assert any(isinstance(each, DownloadFirmware) for each in found.commands)
    found.fact(FirmwareProgress(status="Downloaded", digest=digest))


def installing(found: Bench) -> bool:
    """Whether the hardware was asked to install."""
    return any(isinstance(each, Install) for each in found.commands)


@pytest.mark.requirement("R141")
def test_an_update_survives_losses_of_power() -> None:
    found = Bench()
    assert update(found) == "Accepted"
    fetched(found)
    reported(found, "Downloading", "Downloaded", "SignatureVerified", "Installing")
    assert installing(found)
    found.fact(FirmwareProgress(status="InstallRebooting"))
    reported(found, "InstallRebooting")
    assert Activate(request_id=1) in found.commands
    found.power_loss()
    found.expect("BootNotification", reason="FirmwareUpdate")
    found.nothing("FirmwareStatusNotification")  # nobody knows yet which firmware has come up
    assert ConfirmInstall(request_id=1) in found.commands
    found.fact(FirmwareProgress(status="Installed"))
    reported(found, "Installed")
    found.power_loss()
    found.nothing("FirmwareStatusNotification")


@together(
    ("before", "now", "said"),
    [
        ("1.10", "1.9.3", "1.10 to 1.9.3, which is older"),
        ("1.9.3", "1.10", "1.9.3 to 1.10"),
        ("1.9", "1.9", "1.9"),
        ("2024-b", "2024-a", "2024-b to 2024-a"),
        ("2024-b", "1.9", "2024-b to 1.9"),
        ("1.9", "1.8-b", "1.9 to 1.8-b"),
        ("1.0", "1.00", "1.0 to 1.00"),
    ],
)
def test_an_update_says_from_which_version_to_which_and_that_it_goes_back(before: str, now: str, said: str) -> None:
    found = Bench()
    found.layout = replace(found.layout, firmware=before)
    found.power_loss()
    update(found)
    fetched(found)
    found.fact(FirmwareProgress(status="InstallRebooting"))
    found.layout = replace(found.layout, firmware=now)
    found.power_loss()
    found.fact(FirmwareProgress(status="Installed"))
    event = found.expect("SecurityEventNotification", type="FirmwareUpdated")
    assert event["techInfo"] == said


def test_a_slot_that_cannot_be_started_is_not_why_the_station_boots_later() -> None:
    found = Bench()
    update(found)
    fetched(found)
    found.fact(FirmwareProgress(status="InstallRebooting"))
    found.fact(FirmwareProgress(status="InstallationFailed"))
    found.clear()
    found.power_loss()
    found.expect("BootNotification", reason="PowerUp")


def test_a_power_loss_while_the_slot_is_written_begins_that_anew() -> None:
    found = Bench()
    update(found)
    fetched(found)
    found.commands.clear()
    found.clear()
    found.power_loss()
    assert Install(request_id=1, digest=DIGEST) in found.commands
    found.nothing("FirmwareStatusNotification")  # that it is installed is known


def test_what_was_written_is_started_once_no_transaction_runs() -> None:
    """L01.FR.33: one that had begun before everything was closed goes on."""
    found = Bench()
    found.present()
    update(found)
    fetched(found)
    found.plug()
    found.expect("TransactionEvent", eventType="Started")
    found.fact(FirmwareProgress(status="InstallRebooting"))
    assert Activate(request_id=1) not in found.commands
    found.present()
    found.unplug()
    found.expect("TransactionEvent", eventType="Ended")
    assert Activate(request_id=1) in found.commands


def test_a_download_waits_for_its_time() -> None:
    found = Bench()
    update(found, in_s=600)
    reported(found, "DownloadScheduled")
    found.wait(601)
    reported(found, "Downloading")


def test_a_download_waits_for_its_time_over_a_loss_of_power() -> None:
    """L01.FR.13: who restarts a station by day does not have it updated by day."""
    found = Bench()
    update(found, in_s=600)
    found.power_loss()
    found.wait(500)
    assert not any(isinstance(each, DownloadFirmware) for each in found.commands)
    found.wait(101)
    fetched(found)


def test_an_image_may_come_without_tls() -> None:
    found = Bench()
    assert update(found, location="http://csms.example/fw.bin") == "Accepted"
    assert [each.url for each in found.commands if isinstance(each, DownloadFirmware)] == ["http://csms.example/fw.bin"]


def test_a_download_whose_time_has_come_does_not_wait() -> None:
    found = Bench()
    update(found, in_s=0)
    reported(found, "Downloading")


def test_what_has_taken_the_place_of_another_is_downloaded_once_and_in_its_time() -> None:
    found = Bench()
    update(found, in_s=600)
    found.clear()
    assert update(found, 2) == "AcceptedCanceled"
    found.wait(601)
    reported(found, "Downloading")


def test_cancelled_by_another() -> None:
    found = Bench()
    update(found)
    assert update(found, 2) == "AcceptedCanceled"
    assert CancelFirmware(request_id=1) in found.commands
    found.expect("FirmwareStatusNotification", status="Downloading", requestId=2)


def test_evses_open_again_when_a_later_update_replaces_one_that_waits_for_a_transaction() -> None:
    """L01.FR.07, .24: they were closed for the installation of the first."""
    found = Bench()
    found.plug()
    found.present()
    update(found)
    fetched(found)
    found.expect("StatusNotification", evseId=2, connectorStatus="Unavailable")
    later = wanted(found) | {"retrieveDateTime": at(found.utc_ms + 3600_000)}
    assert found.ask("UpdateFirmware", requestId=2, firmware=later)["status"] == "AcceptedCanceled"
    found.expect("StatusNotification", evseId=2, connectorStatus="Available")


def test_tc_l_11_cs_cannot_be_cancelled() -> None:
    found = Bench()
    update(found)
    fetched(found)
    assert update(found, 2) == "Rejected"


def trigger(found: Bench, **place: Any) -> None:
    """Ask how the update goes."""
    found.clear()
    answer = found.ask("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"} | place)
    assert answer["status"] == "Accepted"


def test_trigger_firmware_status_idle() -> None:
    found = Bench()
    trigger(found)
    assert "requestId" not in found.expect("FirmwareStatusNotification", status="Idle")


def test_its_progress_is_told_before_the_csms_has_accepted_the_station() -> None:
    """F06.FR.16."""
    found = Bench(power=False)
    found.registration.append(("Pending", 600))
    found.power_up()
    trigger(found)
    found.expect("FirmwareStatusNotification", status="Idle")


# -- what is refused, and how an update ends

UNSIGNED = {"reasonCode": "MissingParam", "additionalInfo": "signature"}
DEVICE = Authority("Device", ROOT)
DEVICE.certificate = ROOT.sign(DEVICE.name, DEVICE.key.public_key())
FORGED = pem(DEVICE.sign(NAME, KEY.public_key())) + DEVICE.pem
"""By the key of a device of the manufacturer, whose certificate is not that of a CA."""


@together(
    ("wrong", "status", "reason"),
    [
        ({"location": "ftp://csms.example/fw.bin"}, "Rejected", {"reasonCode": "InvalidURL"}),
        ({"signature": None}, "Rejected", UNSIGNED),
        ({"signingCertificate": None}, "Rejected", UNSIGNED),
        ({"signingCertificate": "no certificate"}, "InvalidCertificate", {}),
        ({"signingCertificate": Authority("Stranger").pem}, "InvalidCertificate", {}),
        ({"signingCertificate": FORGED}, "InvalidCertificate", {}),
    ],
)
def test_what_cannot_be_verified_is_not_downloaded(wrong: dict[str, Any], status: str, reason: dict[str, str]) -> None:
    """L01.FR.02, .11, .22, L02."""
    found = Bench()
    install(found, "ManufacturerRootCertificate")
    firmware = {key: value for key, value in (wanted(found) | wrong).items() if value is not None}
    answer = found.ask("UpdateFirmware", requestId=1, firmware=firmware)
    assert (answer["status"], answer.get("statusInfo", {})) == (status, reason)
    if not reason:
        found.expect("SecurityEventNotification", type="InvalidFirmwareSigningCertificate", techInfo="request 1")
    found.wait(3600)
    assert not any(isinstance(each, DownloadFirmware) for each in found.commands)


@pytest.mark.requirement("R141")
@together(
    ("extensions", "accepted"),
    [
        ([], True),
        ([key_usage("digital_signature")], True),
        ([key_usage("digital_signature", "key_agreement")], True),
        ([key_usage("key_agreement")], False),
        ([key_usage("key_cert_sign", "crl_sign")], False),
        ([x509.ExtendedKeyUsage([Use.CODE_SIGNING])], True),
        ([x509.ExtendedKeyUsage([Use.CLIENT_AUTH, Use.CODE_SIGNING])], True),
        ([x509.ExtendedKeyUsage([Use.ANY_EXTENDED_KEY_USAGE])], True),
        ([x509.ExtendedKeyUsage([Use.CLIENT_AUTH, Use.SERVER_AUTH])], False),
        ([key_usage("digital_signature"), x509.ExtendedKeyUsage([Use.CODE_SIGNING])], True),
        ([key_usage("digital_signature"), x509.ExtendedKeyUsage([Use.CLIENT_AUTH])], False),
        ([key_usage("key_agreement"), x509.ExtendedKeyUsage([Use.CODE_SIGNING])], False),
        ([x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"")], False),
    ],
)
def test_key_usages_of_its_certificate_restrict_what_a_key_signs(
    extensions: list[x509.ExtensionType], accepted: bool
) -> None:
    """L01.FR.12: by RFC 5280 4.2.1.3 and 4.2.1.12; neither extension has to be there (A00.FR.512, .514)."""
    found = Bench()
    certificate = pem(ROOT.sign(NAME, KEY.public_key(), extensions=extensions))
    assert update(found, signingCertificate=certificate) == ("Accepted" if accepted else "InvalidCertificate")
    assert any(isinstance(each, DownloadFirmware) for each in found.commands) is accepted


@pytest.mark.requirement("R141")
@pytest.mark.parametrize(
    ("digest", "more"),
    [
        (bytes(32), {}),
        (DIGEST, {"signature": "!"}),
        (DIGEST, {"signature": f"!{SIGNATURE}"}),
        (DIGEST, {"signingCertificate": pem(ROOT.sign(NAME, ed25519.Ed25519PrivateKey.generate().public_key()))}),
    ],
)
def test_what_its_manufacturer_has_not_signed_is_not_installed(digest: bytes, more: dict[str, str]) -> None:
    """L01.FR.03."""
    found = Bench()
    update(found, **more)
    fetched(found, digest)
    found.expect("SecurityEventNotification", type="InvalidFirmwareSignature", techInfo="request 1")
    trigger(found)
    found.expect("FirmwareStatusNotification", status="Idle")
    found.power_loss()
    assert not installing(found)


def test_why_a_repository_refuses_is_a_security_event() -> None:
    found = Bench()
    update(found)
    found.fact(FirmwareProgress(status="InvalidSignature", reason="it is older"))
    found.expect("SecurityEventNotification", type="InvalidFirmwareSignature", techInfo="request 1: it is older")
    assert FirmwareProgress(status="InvalidSignature").reason == ""


@pytest.mark.parametrize(
    "status", ["DownloadFailed", "InvalidSignature", "InstallVerificationFailed", "InstallationFailed", "Installed"]
)
def test_an_update_that_has_ended_is_forgotten_and_evses_open_again(status: Any) -> None:
    found = Bench()
    update(found)
    fetched(found)
    found.expect("StatusNotification", evseId=1, connectorStatus="Unavailable")
    answer = found.ask("UpdateFirmware", requestId=2, firmware=wanted(found))
    assert answer == {"status": "Rejected", "statusInfo": {"reasonCode": "FwUpdateInProgress"}}, "L01.FR.24"
    found.fact(FirmwareProgress(status=status))
    found.expect("StatusNotification", evseId=1, connectorStatus="Available")
    trigger(found)
    found.expect("FirmwareStatusNotification", status="Idle")
    found.commands.clear()
    found.power_loss()
    assert not any(isinstance(each, DownloadFirmware | Install | Activate | ConfirmInstall) for each in found.commands)
    assert update(found, 3) == "Accepted"


@pytest.mark.parametrize("before", [False, True])
def test_the_end_of_a_transaction_starts_nothing_that_is_not_yet_there(*, before: bool) -> None:
    """Also if an update before has failed after it was written."""
    found = Bench()
    found.present()
    if before:
        update(found)
        fetched(found)
        found.plug()
        found.fact(FirmwareProgress(status="InstallRebooting"))
        found.fact(FirmwareProgress(status="InstallationFailed"))
    else:
        found.plug()
    found.expect("TransactionEvent", eventType="Started")
    update(found)
    found.commands.clear()
    found.present()
    found.unplug()
    found.expect("TransactionEvent", eventType="Ended")
    assert not any(isinstance(each, Install | Activate) for each in found.commands)
    trigger(found)
    found.expect("FirmwareStatusNotification", status="Downloading", requestId=1)


def test_the_end_of_a_transaction_without_an_update_starts_nothing() -> None:
    found = Bench()
    found.present()
    found.plug()
    found.present()
    found.unplug()
    found.expect("TransactionEvent", eventType="Ended")
    found.nothing("FirmwareStatusNotification")


@pytest.mark.parametrize(("version", "said"), [("2.0", "2.0"), ("", "")])
def test_what_an_earlier_version_has_kept_of_an_update_is_enough(version: str, said: str) -> None:
    """Neither the digest of an image nor what ran before."""
    kept = {"request_id": 7, "url": "https://csms.example/fw.bin", "install_ms": 0, "certificate": "", "signature": ""}
    kept |= {"retries": None, "retry_interval_s": 60}
    found = Bench(power=False)
    found.layout = replace(found.layout, firmware=version)
    for status in ("InstallScheduled", "InstallRebooting"):
        found.saved["firmware"] = {"job": json.dumps(kept | {"status": status}).encode()}
        found.power_loss()
    assert [each for each in found.commands if isinstance(each, DownloadFirmware | ConfirmInstall)] == [
        DownloadFirmware(request_id=7, url="https://csms.example/fw.bin", retries=None, retry_interval_s=60),
        ConfirmInstall(request_id=7),
    ]
    found.fact(FirmwareProgress(status="Installed"))
    assert found.expect("SecurityEventNotification", type="FirmwareUpdated").get("techInfo", "") == said


def test_a_power_loss_while_it_is_downloaded_begins_that_anew() -> None:
    found = Bench()
    update(found)
    wanted = DownloadFirmware(request_id=1, url="https://csms.example/fw.bin", retries=None, retry_interval_s=60)
    assert wanted in found.commands
    trigger(found)
    found.expect("FirmwareStatusNotification", status="Downloading", requestId=1)
    found.commands.clear()
    found.power_loss()
    assert wanted in found.commands


def test_while_its_slot_is_started_it_is_neither_replaced_nor_started_again() -> None:
    found = Bench()
    update(found)
    fetched(found)
    found.fact(FirmwareProgress(status="InstallRebooting"))
    assert update(found, 2) == "Rejected"
    found.commands.clear()
    found.present()
    found.wait(120)
    assert not any(isinstance(each, Activate | Install | CancelFirmware) for each in found.commands)


def test_a_manufacturer_may_sign_by_rsa() -> None:
    key = rsa.generate_private_key(65537, 2048)
    longest = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    certificate = pem(ROOT.sign(NAME, key.public_key()))
    for signed, installed in ((IMAGE, True), (b"another", False)):
        found = Bench()
        signature = base64.b64encode(key.sign(signed, longest, hashes.SHA256())).decode()
        assert update(found, signingCertificate=certificate, signature=signature) == "Accepted"
        fetched(found)
        assert installing(found) is installed


def test_a_power_loss_while_the_slot_is_written_keeps_evses_closed() -> None:
    found = Bench()
    update(found)
    fetched(found)
    found.clear()
    found.power_loss()
    found.expect("StatusNotification", evseId=1, connectorStatus="Unavailable")


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_new_sessions_before_an_installation_are_as_the_csms_wants(allowed: str) -> None:
    """L01.FR.07."""
    found = Bench(variables={"chargingstation.allownewsessionspendingfirmwareupdate": allowed})
    found.present()
    found.plug()
    found.expect("TransactionEvent", eventType="Started")
    update(found)
    fetched(found)
    assert not installing(found), "L01.FR.06"
    found.wait(180)
    assert [each["status"] for each in found.all("FirmwareStatusNotification")].count("InstallScheduled") == 1
    closed = [each for name, each in found.unread if name == "StatusNotification" and each["evseId"] == 2]
    assert bool(closed) is (allowed == "false")
    found.present()
    found.unplug()
    assert installing(found)


# -- when it is installed (R138)

NIGHT = parse_window("22:00-06:00")
ZONE = "clockctrlr.timezone"


@pytest.mark.requirement("R138")
@pytest.mark.parametrize(
    ("zone", "hours"),
    [("", 1.5), ("Europe/Berlin", 0), ("Europe/London", 0.5), ("America/New_York", 5.5), ("Asia/Kolkata", 0)],
)
def test_an_update_without_a_time_waits_for_the_night_at_the_charger(zone: str, hours: float) -> None:
    """It is 28 May, 20:30 UTC."""
    found = Bench(update_window=NIGHT, variables={ZONE: zone} if zone else {})
    update(found)
    fetched(found)
    if hours:
        reported(found, "Downloading", "Downloaded", "SignatureVerified", "InstallScheduled")
        found.nothing("StatusNotification")
        found.wait(hours * 3600 - 1)
        assert not installing(found)
        found.wait(2)
    assert installing(found)


@pytest.mark.requirement("R138")
def test_on_the_day_on_which_clocks_change_the_night_begins_by_the_clock() -> None:
    clock = {"timeoffset": "+02:00", "timeoffset[nexttransition]": "+01:00"}
    clock["nexttimeoffsettransitiondatetime"] = "2026-05-29T01:00:00Z"
    variables = {f"clockctrlr.{name}": value for name, value in clock.items()}
    found = Bench(update_window=parse_window("03:00-04:00"), variables=variables)
    update(found)
    fetched(found)
    found.wait(5.5 * 3600 - 10)  # 03:00 is at 02:00 UTC, after the change
    assert not installing(found)
    found.wait(20)
    assert installing(found)


@pytest.mark.requirement("R138")
def test_the_csms_may_say_when_whatever_the_window_is() -> None:
    for install_s in (-1, 630):
        found = Bench(update_window=NIGHT)
        update(found, install_s=install_s)
        fetched(found)
        assert installing(found) == (install_s < 0)
        found.wait(629.5)
        assert installing(found) == (install_s < 0)
        found.wait(1)
        assert installing(found)


@pytest.mark.requirement("R138")
def test_a_session_that_outlasts_the_night_postpones_by_a_day_and_other_evses_open_again() -> None:
    found = Bench(update_window=NIGHT, variables={ZONE: "Europe/Berlin"})
    found.present()
    found.plug()
    found.expect("TransactionEvent", eventType="Started")
    update(found)
    fetched(found)
    found.expect("StatusNotification", evseId=2, connectorStatus="Unavailable")
    found.wait(8 * 3600)  # 06:30
    found.expect("StatusNotification", evseId=2, connectorStatus="Available")
    found.present()
    found.unplug()
    found.expect("TransactionEvent", eventType="Ended")
    assert not installing(found)
    found.wait(15.6 * 3600)
    assert installing(found)


@pytest.mark.requirement("R138")
@pytest.mark.parametrize("keeps", [True, False])
def test_a_reservation_is_kept_and_its_driver_charges_before_the_installation(*, keeps: bool) -> None:
    found = Bench(update_window=NIGHT, variables={ZONE: "Europe/Berlin"})
    token = {"idToken": "AA", "type": "ISO14443"}
    expires = at(found.utc_ms + 3_600_000)
    answer = found.ask("ReserveNow", id=7, expiryDateTime=expires, idToken=token, evseId=1)
    assert answer["status"] == "Accepted"
    found.expect("StatusNotification", evseId=1, connectorStatus="Reserved")
    update(found)
    fetched(found)
    found.nothing("StatusNotification", connectorStatus="Unavailable")
    found.nothing("ReservationStatusUpdate")
    if keeps:
        found.wait(600)
        found.present("AA")
        found.wait(70)
        assert not installing(found), "authorised, not yet plugged in"
        found.plug()
        found.expect("TransactionEvent", eventType="Started")
        found.wait(3600)
        assert not installing(found)
        found.expect("StatusNotification", evseId=2, connectorStatus="Unavailable")
        found.present("AA")
        found.unplug()
    else:
        found.wait(3700)
        found.expect("ReservationStatusUpdate", reservationUpdateStatus="Expired")
    assert installing(found)


@pytest.mark.requirement("R138")
def test_what_waits_for_the_night_waits_for_it_after_a_loss_of_power() -> None:
    found = Bench(update_window=NIGHT)
    update(found)
    fetched(found)
    found.commands.clear()
    found.power_loss()
    found.wait(5000)
    assert not installing(found)
    found.wait(500)
    assert installing(found)


@pytest.mark.requirement("R138")
def test_the_night_that_one_has_waited_for_begins_nothing_of_another() -> None:
    found = Bench(update_window=NIGHT)
    update(found)
    fetched(found)
    assert update(found, 2, in_s=12 * 3600) == "AcceptedCanceled"
    found.wait(6 * 3600)
    assert not installing(found)
    reported(found, "DownloadScheduled")
