"""Functional block L, firmware for other stations of the site: what the CSMS receives of it (L03, L04)."""

from typing import Any

import pytest

from tests.station.bench import Bench
from v2g_station.blocks.firmware_publishing import Fetched, Publish, PublishProgress, Unpublish

MD5 = "0123456789abcdef" * 2


def bench() -> Bench:
    """A station that can publish."""
    return Bench("2.1", able=frozenset({"publish"}))


URL = "https://makers.example/image"


def ask(found: Bench, url: str = URL, checksum: str = MD5, number: int = 4, **more: Any) -> str:
    """Ask for a publication; return the status, and why it is rejected."""
    answer = found.ask("PublishFirmware", location=url, checksum=checksum, requestId=number, retries=1, **more)
    about = answer.get("statusInfo", {})
    return " ".join(filter(None, (answer["status"], about.get("reasonCode"), about.get("additionalInfo"))))


def unpublish(found: Bench, checksum: str = MD5) -> str:
    """Take a file back; return the status."""
    word: str = found.ask("UnpublishFirmware", checksum=checksum)["status"]
    return word


def notify(found: Bench, status: Any, *locations: str, checksum: str = MD5) -> None:
    """Let the shell tell how it goes."""
    found.fact(PublishProgress(checksum=checksum, status=status, locations=locations))


def published() -> Bench:
    """A station that has published a file."""
    found = bench()
    assert ask(found, checksum=MD5.upper()) == "Accepted"
    for status in ("Downloading", "Downloaded", "ChecksumVerified"):
        notify(found, status)
        found.expect("PublishFirmwareStatusNotification", status=status, requestId=4)
    notify(found, "Published", "http://site.example/image")
    reported = found.expect("PublishFirmwareStatusNotification", status="Published", requestId=4)
    assert reported["location"] == ["http://site.example/image"], "L03.FR.04"
    return found


def triggered(found: Bench) -> str:
    """The status that the station reports on request."""
    answer = found.ask("TriggerMessage", requestedMessage="PublishFirmwareStatusNotification")
    assert answer["status"] == "Accepted"
    word: str = found.expect("PublishFirmwareStatusNotification")["status"]
    return word


def test_a_file_is_published_and_taken_back() -> None:
    found = published()
    assert triggered(found) == "Idle", "L03.FR.10"
    assert list(found.saved["published"]) == [MD5]
    assert unpublish(found) == "Unpublished"
    assert Unpublish(checksum=MD5) in found.commands
    assert unpublish(found) == "NoFirmware", "L04.FR.03"
    assert not found.saved["published"]


def test_a_station_that_has_published_nothing_is_idle_also_before_the_csms_has_accepted_it() -> None:
    found = Bench("2.1", able=frozenset({"publish"}), power=False)
    found.registration.append(("Pending", 600))
    found.power_up()
    assert triggered(found) == "Idle"


@pytest.mark.parametrize(("given", "interval_s"), [({}, 60), ({"retryInterval": 0}, 0), ({"retryInterval": 7}, 7)])
def test_a_file_is_fetched_at_once_and_again_after_a_minute_unless_the_csms_says_otherwise(
    given: dict[str, int], interval_s: int
) -> None:
    found = bench()
    assert ask(found, **given) == "Accepted"
    wanted = Publish(request_id=4, url=URL, checksum=MD5, retries=1, retry_interval_s=interval_s)
    assert [each for each in found.commands if isinstance(each, Publish)] == [wanted]


def test_what_is_published_again_is_reported_again_and_beyond_four_files_no_other_is() -> None:
    found = bench()
    files = [digit * 32 for digit in "0123"]
    for each in (*files, files[0]):
        found.clear()
        assert ask(found, checksum=each) == "Accepted"
        notify(found, "Published", "http://site.example/image", checksum=each)
        found.expect("PublishFirmwareStatusNotification", status="Published")
    assert ask(found, checksum="4" * 32) == "Rejected TooManyElements already 4 files published"
    assert unpublish(found, files[1]) == "Unpublished"
    assert ask(found, checksum="4" * 32) == "Accepted"


def test_a_file_that_somebody_fetches_stays() -> None:
    found = published()
    found.fact(Fetched(checksum=MD5, count=1))
    assert unpublish(found) == "DownloadOngoing", "L04.FR.04"
    found.fact(Fetched(checksum=MD5, count=0))
    assert unpublish(found) == "Unpublished"


@pytest.mark.parametrize("status", ["DownloadFailed", "InvalidChecksum", "PublishFailed"])
def test_what_fails_is_reported_and_forgotten(status: str) -> None:
    found = bench()
    ask(found)
    notify(found, "Downloading")
    assert unpublish(found) == "DownloadOngoing"
    notify(found, status)
    found.expect("PublishFirmwareStatusNotification", status=status, requestId=4)
    assert triggered(found) == status, "L03.FR.11"
    assert unpublish(found) == "NoFirmware"


def test_what_cannot_be_published_is_rejected() -> None:
    found = bench()
    assert ask(found, url="ftp://makers.example/image") == "Rejected InvalidURL"
    wrong = "Rejected InvalidValue checksum must be an MD5 in hexadecimal digits"
    assert ask(found, checksum="not an md5") == wrong
    assert ask(found) == "Accepted"
    assert ask(found, checksum="0" * 32) == "Rejected FwUpdateInProgress another file is being published"


def test_what_was_published_is_published_again_after_a_restart_and_not_reported_again() -> None:
    found = published()
    found.clear()
    found.commands.clear()
    found.power_loss()
    assert [c.checksum for c in found.commands if isinstance(c, Publish)] == [MD5]
    notify(found, "Published", "http://site.example/image")
    found.nothing("PublishFirmwareStatusNotification")
    assert ask(found) == "Accepted"
    notify(found, "Published", "http://site.example/image")
    found.expect("PublishFirmwareStatusNotification", status="Published")  # it is asked for again
    found.power_loss()
    notify(found, "DownloadFailed")
    found.expect("PublishFirmwareStatusNotification", status="DownloadFailed")


@pytest.mark.parametrize("status", ["", "Downloading"])
def test_a_restart_on_the_way_begins_anew(status: str) -> None:
    found = bench()
    ask(found)
    if status:
        notify(found, status)
    found.commands.clear()
    found.power_loss()
    assert any(isinstance(command, Publish) for command in found.commands)
