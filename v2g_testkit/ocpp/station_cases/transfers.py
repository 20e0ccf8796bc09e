"""Files that a station downloads from the tester, or uploads to it: firmware (L01) and logs (N01)."""

import base64
from pathlib import Path
from typing import Final

from v2g_testkit.ocpp.case import Failed, NotApplicable, Payload
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.file_server import FileServer
from v2g_testkit.ocpp.station_tester import PAUSE_S, StationTest

IMAGE: Final = "/v2g-conformance.bin"
FAILED: Final = ("DownloadFailed", "InvalidSignature", "InstallVerificationFailed", "InstallationFailed")
LOGS: Final = "/logs/"


def is_retried(t: StationTest, tries: list[str], retries: int, interval_s: float, began: float, by: str) -> None:
    """Raise Failed unless a transfer was tried as often as asked, with the methods of `tries`, and not too fast.

    A station may try each time by more than one method, such as PUT and POST.
    """
    times = max((tries.count(each) for each in tries), default=0)
    t.check(len(tries) > retries >= times - 1, by, f"tries {times} times instead of {1 + retries}")
    seconds = t.elapsed() - began
    t.check(seconds >= retries * interval_s - 1, by, f"gives up after {seconds:.0f} s")


# -- firmware


def image_of(t: StationTest, *, broken: bool = False) -> bytes:
    """Return the declared image. Raises NotApplicable without one."""
    file: Path | None = t.declared.broken_firmware if broken else t.declared.firmware
    if file is None:
        raise NotApplicable(f"no {'broken ' * broken}image is declared (`{'broken_' * broken}firmware`)")
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotApplicable(f"{file}: {error.strerror}") from None


async def offer_image(
    t: StationTest, root: Authority, content: bytes, *, signed: bool = True
) -> tuple[FileServer, Payload]:
    """Offer an image at the tester; return the server, and FirmwareType with a signature, by a certificate of `root`.

    Unless it is `signed`, the signature is of another image. Raises NotApplicable.
    """
    files, url = await t.file_server()
    files.files[IMAGE] = content
    signer = root.signer()
    signature = base64.b64encode(signer.sign(content if signed else content + b"!")).decode()
    about = {"location": url + IMAGE, "signingCertificate": signer.pem, "signature": signature}
    return files, about | {"retrieveDateTime": t.later(-7200)}


async def update(t: StationTest, firmware: Payload, *, retries: int = 0, interval_s: int = 0, **more: object) -> int:
    """Ask for an update that must be accepted; return its number. The case ends after the update. Raises Failed."""
    number = t.next_id()
    t.undo(lambda: _end(t))
    again = {"retries": retries, "retryInterval": interval_s}
    answer = await t.ask("UpdateFirmware", requestId=number, **again, firmware=firmware | more)
    t.check(answer["status"] == "Accepted", "L01.FR.21", f"answers {answer['status']} to the update")
    return number


async def _end(t: StationTest) -> None:
    """Wait until no update is in progress, which may have to wait for transactions."""
    await t.leave()
    await t.ask("TriggerMessage", requestedMessage="FirmwareStatusNotification")  # L01.FR.25, .26
    within: float = t.declared.away_seconds
    while found := await t.find(lambda each: each.action == "FirmwareStatusNotification", within):
        if found["status"] in ("Installed", *FAILED):
            break
        if found["status"] == "Idle":  # the answer may come before reports that the station stored
            within = PAUSE_S


async def follow(t: StationTest, number: int, *last: str) -> list[str]:
    """Return the states of an update until one of the `last`, or until the station waits with verified firmware.

    Raises Failed.
    """
    states: list[str] = []
    while not states or states[-1] not in last:
        found = await t.find(lambda each: each.action == "FirmwareStatusNotification", t.declared.away_seconds)
        if found is None and states[-1:] == ["SignatureVerified"]:
            break
        if found is None:
            raise Failed(f"reports {', '.join(states) or 'nothing'}, and not {' or '.join(last)}", "L01.FR.01")
        t.check(found.get("requestId") == number, "L01.FR.10", f"reports another update: {found.get('requestId')}")
        states.append(found["status"])
    return states


def goes_through(t: StationTest, states: list[str], *expected: str) -> None:
    """Raise Failed unless an update went through these states, in this order, perhaps with others between."""
    rest = iter(states)
    missing = [each for each in expected if each not in rest]
    t.check(not missing, "L01.FR.01", f"does not report {', '.join(missing)}, but {', '.join(states)}")


# -- logs


async def get_log(
    t: StationTest, kind: str = "DiagnosticsLog", *, server: tuple[FileServer, str] | None = None, **more: object
) -> tuple[FileServer, int, Payload]:
    """Ask for a log; return the file server, the number of the request, and the answer. `server`: another one, with
    its URL. Raises NotApplicable."""
    files, url = server or await t.file_server()
    number = t.next_id()
    answer = await t.ask("GetLog", logType=kind, requestId=number, log={"remoteLocation": url + LOGS}, **more)
    if answer["status"] in ("Accepted", "AcceptedCanceled"):
        t.check(bool(answer.get("filename")), "N01.FR.01", "does not name the file")
    return files, number, answer


async def log_state(t: StationTest, number: int, requirement: str, *states: str) -> None:
    """Expect the next state of an upload, which may be said to begin again (N01.FR.10). Raises Failed."""
    within = t.declared.away_seconds
    found = await t.expect("LogStatusNotification", requirement, within=within, requestId=number)
    while found["status"] == "Uploading" not in states:
        found = await t.expect("LogStatusNotification", requirement, within=within, requestId=number)
    t.check(found["status"] in states, requirement, f"reports {found['status']} instead of {' or '.join(states)}")
