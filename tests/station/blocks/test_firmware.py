"""Functional block L, firmware, of our station, beyond the cases of the test lab."""

import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from tests.station.bench import Bench, at
from tests.station.updates import IMAGE, update
from v2g.ota.window import parse_window
from v2g_station.blocks.firmware import Activate, CancelFirmware, ConfirmInstall, Download, FirmwareProgress, Install

DIGEST = hashlib.sha256(IMAGE).digest()


def reported(found: Bench, *statuses: str) -> None:
    """The CSMS has received these, in this order, and no other."""
    received = [payload["status"] for name, payload in found.unread if name == "FirmwareStatusNotification"]
    assert received == list(statuses)
    found.clear()


def fetched(found: Bench, digest: bytes = DIGEST) -> None:
    """The image is there."""
    assert any(isinstance(each, Download) for each in found.commands)
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
    found.expect("BootNotification")
    found.nothing("FirmwareStatusNotification")  # nobody knows yet which firmware has come up
    assert ConfirmInstall(request_id=1) in found.commands
    found.fact(FirmwareProgress(status="Installed"))
    reported(found, "Installed")
    found.power_loss()
    found.nothing("FirmwareStatusNotification")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("1.10", "1.9.3", "1.10 to 1.9.3, which is older"),
        ("1.9.3", "1.10", "1.9.3 to 1.10"),
        ("1.9", "1.9", "1.9"),
        ("2024-b", "2024-a", "2024-b to 2024-a"),
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


def test_a_power_loss_while_the_slot_is_written_begins_that_anew() -> None:
    found = Bench()
    update(found)
    fetched(found)
    found.commands.clear()
    found.power_loss()
    assert Install(request_id=1, digest=DIGEST) in found.commands


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


def test_cancelled_by_another() -> None:
    found = Bench()
    update(found)
    assert update(found, 2) == "AcceptedCanceled"
    assert CancelFirmware(request_id=1) in found.commands
    found.expect("FirmwareStatusNotification", status="Downloading", requestId=2)


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
    for install_s in (-1, 600):
        found = Bench(update_window=NIGHT)
        update(found, install_s=install_s)
        fetched(found)
        assert installing(found) == (install_s < 0)
        found.wait(601)
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
