"""Functional block L, firmware: cases of updates for charging stations.

Those which install need an image of the maker (`firmware` in the declaration); the tester signs it, by a root that it
installs. All others are refused, or fail, before anything is installed.
"""

import contextlib
from typing import Final

from v2g_testkit.ocpp.case import Block, Failed, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.connection import Received
from v2g_testkit.ocpp.station_cases.roots import CSMS, MANUFACTURER, delete_others, install, installed
from v2g_testkit.ocpp.station_cases.steps import connector_is, ended
from v2g_testkit.ocpp.station_cases.transfers import (
    FAILED,
    IMAGE,
    follow,
    goes_through,
    image_of,
    is_retried,
    offer_image,
    update,
)
from v2g_testkit.ocpp.station_tester import StationTest

L: Final[Block[StationTest]] = Block()

NO_SERVER: Final = "127.0.0.1:9"
"""At the station itself, where nothing listens (port 9: discard, RFC 863)."""
SIGNATURE: Final = "bm8gc2lnbmF0dXJl"
BEGUN: Final = ("Downloading", "DownloadFailed")
"""A station may find at once that there is nothing to download."""


async def _update(t: StationTest, number: int, *, in_s: float = -7200, signing: Payload | None = None) -> str:
    """Ask for an update with an image that no server has, to be downloaded in some time; return the status."""
    protocols = (await t.get("OCPPCommCtrlr", "FileTransferProtocols")).get("attributeValue", "")
    scheme = next((each for each in ("HTTPS", "HTTP", "FTPS", "FTP", "SFTP") if each in protocols.split(",")), "HTTPS")
    firmware: Payload = {
        "location": f"{scheme.lower()}://{NO_SERVER}/v2g-conformance.bin",
        "retrieveDateTime": t.later(in_s),
    }
    answer = await t.ask("UpdateFirmware", requestId=number, retries=0, firmware=firmware | (signing or {}))
    return str(answer["status"])


def _signing(root: Authority) -> Payload:
    return {"signingCertificate": root.leaf(), "signature": SIGNATURE}


async def _signed(t: StationTest, root: Authority, *, in_s: float) -> int:
    """Ask for an update whose certificate is good; return its number. It is replaced by one that fails after the case.

    Raises Failed.
    """
    number, signing = t.next_id(), _signing(root)

    async def cancel() -> None:
        last = t.next_id()
        await _update(t, last, signing=signing)
        await t.find(lambda each: _tells(each, last, FAILED))

    t.undo(cancel)
    status = await _update(t, number, in_s=in_s, signing=signing)
    t.check(status in ("Accepted", "AcceptedCanceled"), "L01.FR.21", f"answers {status}")
    return number


def _tells(message: Received, number: int, statuses: tuple[str, ...]) -> bool:
    told = message.action == "FirmwareStatusNotification" and message.payload.get("requestId") == number
    return told and message.payload["status"] in statuses


@L.case("TC_L_05_CS", "Firmware with an untrusted certificate", also="L01.FR.21", quick=True)
async def untrusted(t: StationTest) -> None:
    """The station answers InvalidCertificate or RevokedCertificate, and reports a security event."""
    status = await _update(t, t.next_id(), signing=_signing(Authority(MANUFACTURER, t.now())))
    t.check(status in ("InvalidCertificate", "RevokedCertificate"), "L01.FR.22", f"answers {status}")
    await t.expect("SecurityEventNotification", "L01.FR.02", type="InvalidFirmwareSigningCertificate")


@L.case("V2G-L-02-CS", "Firmware with a certificate of roots that are not for firmware", requirements="L01.FR.22")
async def other_roots(t: StationTest) -> None:
    """The station does not accept it by a root for firmware that was deleted, nor by one of back ends."""
    with precondition():
        before = await installed(t, MANUFACTURER)
        roots = [await install(t, MANUFACTURER)]
        await delete_others(t, MANUFACTURER, before)
    with contextlib.suppress(NotApplicable):
        roots.append(await given(install(t, CSMS)))
    for root in roots:
        status = await _update(t, t.next_id(), signing=_signing(root))
        about = f"answers {status} to a certificate of a {root.use}"
        t.one_of(status, ("InvalidCertificate", "RevokedCertificate"), "L01.FR.22", about)


@L.case("TC_L_18_CS", "Firmware without a certificate and a signature", also="L01.FR.11")
async def unsigned(t: StationTest) -> None:
    """The station answers Rejected or InvalidCertificate."""
    t.one_of(await _update(t, t.next_id()), ("Rejected", "InvalidCertificate"), "L01.FR.21", "answers {}")


@L.case("TC_L_10_CS", "Firmware instead of other firmware", requirements="L01.FR.10 L01.FR.20 L01.FR.24")
async def cancelled(t: StationTest) -> None:
    """A station that can cancel an update answers AcceptedCanceled, and reports the new one."""
    with precondition():
        root = await install(t, MANUFACTURER)
        first = await _signed(t, root, in_s=3600)
        await t.expect("FirmwareStatusNotification", "L01.FR.13", status="DownloadScheduled", requestId=first)
    second = t.next_id()
    status = await _update(t, second, in_s=1800, signing=_signing(root))
    t.needs(status != "Rejected", "it cannot cancel an update")  # L01.FR.27
    t.check(status == "AcceptedCanceled", "L01.FR.24", f"answers {status}")
    await t.expect("FirmwareStatusNotification", "L01.FR.10", status="DownloadScheduled", requestId=second)


@L.case("TC_L_03_CS", "Firmware to be downloaded later", also="L01.FR.10")
async def scheduled(t: StationTest) -> None:
    """The station reports DownloadScheduled, and begins at the time that was set, and not before."""
    root = await given(install(t, MANUFACTURER))
    wait_s = 20.0
    early_s = t.elapsed() + wait_s - 5
    number = await _signed(t, root, in_s=wait_s)
    await t.expect("FirmwareStatusNotification", "L01.FR.13", status="DownloadScheduled", requestId=number)
    if await t.find(lambda each: _tells(each, number, BEGUN), early_s - t.elapsed()):
        raise Failed("begins to download before its time", "L01.FR.13")
    if await t.find(lambda each: _tells(each, number, BEGUN), 5 + t.declared.seconds) is None:
        raise Failed("does not begin to download", "L01.FR.01")


# -- with a download


INSTALLED: Final = ("Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed")


async def _updated(t: StationTest, number: int, states: list[str]) -> None:
    """Expect the end of an update, after these states."""
    states += await follow(t, number, "Installed", *FAILED)
    goes_through(t, states, *INSTALLED)
    event = await t.find(lambda each: each.payload.get("type") == "FirmwareUpdated")
    t.check(event is not None, "L01.FR.31", "sends no FirmwareUpdated")
    await t.reconnected("L01.FR.28")
    for boot in t.seen("BootNotification"):
        t.one_of(boot["reason"], ("FirmwareUpdate", "Triggered"), "BootReasonEnumType", "boots after the update as {}")


@L.case(
    "TC_L_01_CS", "Firmware is installed", also="L01.FR.01 L01.FR.05 L01.FR.10 L01.FR.20 L01.FR.21 L01.FR.28 L01.FR.31"
)
async def is_installed(t: StationTest) -> None:
    """The station downloads the firmware, verifies its signature, installs it, and reports each state."""
    image = image_of(t)
    with precondition():
        files, firmware = await offer_image(t, await install(t, MANUFACTURER), image)
    await _updated(t, await update(t, firmware, installDateTime=t.later(-7200)), [])
    t.check(f"GET {IMAGE}" in files.asked, "L01.FR.04", "does not download the firmware")


@L.case("TC_L_02_CS", "Firmware to be installed later", also="L01.FR.01 L01.FR.10 L01.FR.28 L01.FR.31")
async def install_scheduled(t: StationTest) -> None:
    """The station reports InstallScheduled, and installs at the time that was set, and not before."""
    image, wait_s = image_of(t), 20.0
    with precondition():
        _, firmware = await offer_image(t, await install(t, MANUFACTURER), image)
    early_s = t.elapsed() + wait_s - 5
    number = await update(t, firmware, installDateTime=t.later(wait_s))
    states = await follow(t, number, "InstallScheduled", "Installing", "InstallRebooting", "Installed", *FAILED)
    t.check(states[-1] == "InstallScheduled", "L01.FR.16", f"reports {states[-1]} instead of InstallScheduled")
    if await t.find(lambda each: each.action == "FirmwareStatusNotification", early_s - t.elapsed()):
        raise Failed("continues before its time", "L01.FR.16")
    await _updated(t, number, states)


@L.case("TC_L_06_CS", "Firmware with a signature of other firmware", also="L01.FR.01 L01.FR.10 L01.FR.12")
async def wrong_signature(t: StationTest) -> None:
    """The station downloads the firmware, reports InvalidSignature, and a security event."""
    with precondition():
        _, firmware = await offer_image(t, await install(t, MANUFACTURER), b"not firmware", signed=False)
    states = await follow(t, await update(t, firmware), "Installing", "Installed", *FAILED)
    goes_through(t, states, "Downloading", "Downloaded")
    t.check(states[-1] == "InvalidSignature", "L01.FR.04", f"reports {states[-1]} instead of InvalidSignature")
    await t.expect("SecurityEventNotification", "L01.FR.03", type="InvalidFirmwareSignature")


@L.case("TC_L_07_CS", "Firmware that is not there", also="L01.FR.10 L01.FR.20")
async def download_failed(t: StationTest) -> None:
    """The station reports DownloadFailed."""
    with precondition():
        files, firmware = await offer_image(t, await install(t, MANUFACTURER), b"not firmware")
    files.files.clear()
    states = await follow(t, await update(t, firmware), "Downloaded", *FAILED)
    t.check(states[-1] == "DownloadFailed", "L01.FR.30", f"reports {states[-1]} instead of DownloadFailed")
    t.check(f"GET {IMAGE}" in files.asked, "L01.FR.01", "does not try to download the firmware")


@L.case("V2G-L-01-CS", "Firmware that cannot be downloaded at the moment", also="L01.FR.10 L01.FR.20")
async def download_retried(t: StationTest) -> None:
    """The station tries as often as the request says, and then reports DownloadFailed."""
    retries, interval_s = 2, 5
    with precondition():
        files, firmware = await offer_image(t, await install(t, MANUFACTURER), b"not firmware")
    files.files.clear()
    files.missing = 503
    began = t.elapsed()
    states = await follow(t, await update(t, firmware, retries=retries, interval_s=interval_s), "Downloaded", *FAILED)
    t.check(states[-1] == "DownloadFailed", "L01.FR.30", f"reports {states[-1]} instead of DownloadFailed")
    tries = [each for each in files.asked if each == f"GET {IMAGE}"]
    is_retried(t, tries, retries, interval_s, began, "L01.FR.30")


@L.case("TC_L_08_CS", "Firmware that cannot be installed", also="L01.FR.01 L01.FR.10 L01.FR.20")
async def installation_failed(t: StationTest) -> None:
    """The station reports InstallVerificationFailed or InstallationFailed."""
    image = image_of(t, broken=True)
    with precondition():
        _, firmware = await offer_image(t, await install(t, MANUFACTURER), image)
    states = await follow(t, await update(t, firmware), "Installed", *FAILED)
    goes_through(t, states, "Downloading", "Downloaded", "SignatureVerified")
    t.check(states[-1] in ("InstallVerificationFailed", "InstallationFailed"), "L01.FR.29", f"reports {states[-1]}")
    await t.reconnected()


@L.case("TC_L_11_CS", "Firmware during an update that cannot be cancelled", requirements="L01.FR.10 L01.FR.27")
async def not_cancelled(t: StationTest) -> None:
    """A station that cannot cancel an update answers Rejected, and completes the first one."""
    with precondition():
        files, firmware = await offer_image(t, await install(t, MANUFACTURER), b"not firmware", signed=False)
        files.hold()
        first = await update(t, firmware)
        await t.expect("FirmwareStatusNotification", "L01.FR.01", status="Downloading", requestId=first)
    second = t.next_id()
    answer = await t.ask("UpdateFirmware", requestId=second, retries=0, firmware=firmware)
    files.release()
    cancels = answer["status"] == "AcceptedCanceled"
    states = await follow(t, second if cancels else first, *FAILED)
    t.needs(not cancels, "it cancels updates")
    t.check(answer["status"] == "Rejected", "L01.FR.27", f"answers {answer['status']}")
    t.check(states[-1] == "InvalidSignature", "L01.FR.01", f"reports {states[-1]} of the first update")


# -- during a transaction


async def _waits(t: StationTest, state: str, *, others: bool) -> None:
    """Expect that an update waits in a state for the end of a transaction, while others may begin, or may not."""
    image = image_of(t)
    with precondition():
        await t.demand("ChargingStation", "AllowNewSessionsPendingFirmwareUpdate", str(others).lower())
        _, firmware = await offer_image(t, await install(t, MANUFACTURER), image)
        await t.charging()
    number = await update(t, firmware)
    states = await follow(t, number, "DownloadScheduled", "InstallScheduled", "Installing", "InstallRebooting", *FAILED)
    waits = states[-1] if states[-1] != "SignatureVerified" else "InstallScheduled"
    if waits != state:
        await _finish(t, number)
        raise NotApplicable(f"reports {states[-1]} during a transaction")
    if others:
        await t.charging(2)
    else:
        await connector_is(t, "Unavailable", "L01.FR.07", 2)
    for evse in (1, 2) if others else (1,):
        t.check(await t.find(_goes_on, 2) is None, "L01.FR.06", "continues during a transaction")
        await t.present(evse=evse)
        await t.unplug(evse)
        await ended(t, "E07.FR.02")
    await _updated(t, number, states)


async def _finish(t: StationTest, number: int) -> None:
    """End the transaction, and let the update come to its end."""
    await given(t.present(), t.unplug(), follow(t, number, "Installed", *FAILED), t.reconnected())


def _goes_on(message: Received) -> bool:
    return message.action == "FirmwareStatusNotification" and message.payload["status"] != "InstallScheduled"


def _case_of_waiting(number: int, title: str, required: str, state: str, *, others: bool) -> None:
    scheduled = ("L01.FR.13",) if state == "DownloadScheduled" else ()

    @L.case(
        f"TC_L_{number}_CS", title, required=required,
        requirements=("L01.FR.06", "L01.FR.07", *scheduled, "L01.FR.28", "L01.FR.31"), needs=("2 EVSEs",),
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        await _waits(t, state, others=others)


_DOWNLOADS: Final = "The station reports DownloadScheduled, and continues once no transaction runs; "
_INSTALLS: Final = "The station downloads the firmware, and installs it once no transaction runs; "
_OTHERS: Final = "others may begin meanwhile."
_UNAVAILABLE: Final = "EVSEs that are free become Unavailable meanwhile."
_case_of_waiting(12, "Download after the transaction", _DOWNLOADS + _OTHERS, "DownloadScheduled", others=True)
_case_of_waiting(
    13, "Download, and no other transaction begins", _DOWNLOADS + _UNAVAILABLE, "DownloadScheduled", others=False
)
_case_of_waiting(14, "Installation after the transaction", _INSTALLS + _OTHERS, "InstallScheduled", others=True)
_case_of_waiting(
    15, "Installation, and no other transaction begins", _INSTALLS + _UNAVAILABLE, "InstallScheduled", others=False
)


@L.case("TC_L_16_CS", "Firmware is installed during a transaction", also="L01.FR.01 L01.FR.10 L01.FR.28 L01.FR.31")
async def during_transaction(t: StationTest) -> None:
    """A station that can do so installs the firmware at once."""
    image = image_of(t)
    with precondition():
        _, firmware = await offer_image(t, await install(t, MANUFACTURER), image)
        await t.charging()
    number = await update(t, firmware)
    states = await follow(t, number, "DownloadScheduled", "InstallScheduled", "Installing", "Installed", *FAILED)
    if states[-1] not in ("Installing", "Installed"):
        await _finish(t, number)
        raise NotApplicable("it waits for the end of transactions")
    await _updated(t, number, states)
