"""Functional block L, firmware, of our station, beyond the cases of the test lab."""

import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from tests.station.bench import Bench
from tests.station.updates import IMAGE, update
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
