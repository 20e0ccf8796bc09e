"""Functional block L, firmware: cases for back ends."""

from typing import Final
from urllib.parse import urlsplit

from v2g_testkit.ocpp.case import Block, Payload, Profile
from v2g_testkit.ocpp.certificates import Authority, is_certificate
from v2g_testkit.ocpp.csms_cases.transaction import charging
from v2g_testkit.ocpp.csms_tester import CsmsTest

L: Final[Block[CsmsTest]] = Block(needs=("firmware updates",), booted=True)

_CORE: Final[tuple[Profile, ...]] = ("Core",)
_LOCATION: Final = "https://firmware.example/1.2.3.bin"


# -- of the station itself


async def _update(t: CsmsTest, status: str = "Accepted", more: Payload | None = None, /, **times: str) -> int:
    """Have the back end send an update, of any image that is signed; return the number of the request.

    `more`: further fields that it has to have.
    """
    t.answer("UpdateFirmware", {"status": status})
    firmware: Payload = {
        "location": _LOCATION,
        "retrieveDateTime": t.now(),
        "signingCertificate": Authority("ManufacturerRootCertificate", t.now()).pem,
        "signature": "c2lnbmF0dXJl",
        **times,
    }
    more = Payload(requestId=t.next_id(), firmware=firmware) | (more or {})
    sent = await t.asked("UpdateFirmware", "L01", free=("firmware",), **more)
    found: Payload = sent["firmware"]
    address = urlsplit(found["location"])
    t.check(bool(address.scheme and address.netloc), "L01", "location is no URL")
    t.check(is_certificate(found.get("signingCertificate", "")), "L01.FR.11", "signingCertificate is none")
    t.check(bool(found.get("signature")), "L01.FR.09", "the firmware has no signature")
    for name, wanted in times.items():
        t.check(name in found, "L01", f"the update has no {name}")
        t.is_at(found[name], wanted, "L01")
    return int(sent["requestId"])


async def _goes(t: CsmsTest, number: int, *statuses: str) -> None:
    for status in statuses:
        await t.call("FirmwareStatusNotification", status=status, requestId=number)


async def _reboots(t: CsmsTest) -> None:
    await t.away()
    await t.booted("FirmwareUpdate")


_LOADED: Final = ("Downloading", "Downloaded", "SignatureVerified")
_INSTALLED: Final = (*_LOADED, "Installing", "InstallRebooting")


def _updates(
    id: str,  # noqa: A002 - as in every case
    title: str,
    *statuses: str,
    last: str = "",
    later: tuple[str, ...] = (),
    profiles: tuple[Profile, ...] = _CORE,
) -> None:
    """Add a case in which the station reports `statuses`, and after a reboot the `last` one, if there is one."""

    @L.case(
        id,
        title,
        required="The back end sends firmware with its signature and certificate, and acknowledges the progress"
        + (" and the boot." if last else "."),
        requirements=("L01.FR.01", "L01.FR.11", *(("L01.FR.15",) if last else ())),
        profiles=profiles,
        needs=("firmware updates", *(("times of updates",) if later else ())),
        quick=id == "TC_L_01_CSMS",
    )
    async def script(t: CsmsTest) -> None:
        number = await _update(t, **{name: t.later(300) for name in later})
        await _goes(t, number, *statuses)
        if last:
            await _reboots(t)
            await _goes(t, number, last)


_BOTH: Final[tuple[Profile, ...]] = ("Core", "Advanced User Interface")
_updates("TC_L_01_CSMS", "Update", *_INSTALLED, last="Installed", profiles=_BOTH)
_updates(
    "TC_L_02_CSMS", "Update that is installed later", *_LOADED, "InstallScheduled", "Installing", "InstallRebooting",
    last="Installed", later=("installDateTime",), profiles=_BOTH,
)  # fmt: skip
_updates(
    "TC_L_03_CSMS", "Update that is downloaded later", "DownloadScheduled", *_INSTALLED, last="Installed",
    later=("retrieveDateTime",),
)  # fmt: skip
_updates("TC_L_07_CSMS", "Download that fails", "Downloading", "DownloadFailed")
_updates("TC_L_08_CSMS", "Verification that fails", *_LOADED, "Installing", "InstallVerificationFailed")
_updates("TC_L_09_CSMS", "Installation that fails", *_INSTALLED, last="InstallationFailed")


@L.case(
    "V2G-L-01-CSMS", "Update with retries", requirements=("L01",), needs=("firmware updates", "retries of transfers")
)
async def retries(t: CsmsTest) -> None:
    """The back end sends how often the station may try again to download, and after how long."""
    await _update(t, "Accepted", {"retries": 2, "retryInterval": 90})


@L.case("TC_L_04_CSMS", "Revoked certificate", also="L01.FR.11")
async def revoked_certificate(t: CsmsTest) -> None:
    """The back end sends firmware with its signature and certificate, and continues after the answer."""
    await _update(t, "RevokedCertificate")
    await t.call("Heartbeat")


@L.case("TC_L_05_CSMS", "Invalid certificate", also="L01.FR.02 L01.FR.11")
async def invalid_certificate(t: CsmsTest) -> None:
    """The back end sends firmware with its certificate, and acknowledges the security event."""
    await _update(t, "InvalidCertificate")
    await _security_event(t, "InvalidFirmwareSigningCertificate")


@L.case("TC_L_06_CSMS", "Invalid signature", also="L01.FR.01 L01.FR.03 L01.FR.11")
async def invalid_signature(t: CsmsTest) -> None:
    """The back end acknowledges the progress of the update and the security event."""
    await _goes(t, await _update(t), "Downloading", "Downloaded", "InvalidSignature")
    await _security_event(t, "InvalidFirmwareSignature")


async def _security_event(t: CsmsTest, kind: str) -> None:
    await t.call("SecurityEventNotification", type=kind, timestamp=t.now())


def _second(id: str, title: str, status: str, requirement: str) -> None:  # noqa: A002
    @L.case(
        id, title, also="L01.FR.01 L01.FR.11",
        needs=("firmware updates", "updates during updates"),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end sends a second update under another requestId, and acknowledges the progress."""
        first = await _update(t)
        await _goes(t, first, "Downloading")
        second = await _update(t, status)
        t.check(first != second, requirement, f"both updates have the requestId {first}")
        if status == "AcceptedCanceled":
            await _goes(t, second, *_INSTALLED)
        else:
            await _goes(t, first, *_INSTALLED[1:])
        await _reboots(t)
        await _goes(t, second if status == "AcceptedCanceled" else first, "Installed")


_second("TC_L_10_CSMS", "Update that another one cancels", "AcceptedCanceled", "L01.FR.24")
_second("TC_L_11_CSMS", "Update that cannot be cancelled", "Rejected", "L01.FR.27")


@L.case("TC_L_13_CSMS", "Update during a transaction", also="L01.FR.01 L01.FR.11")
async def during_transaction(t: CsmsTest) -> None:
    """The back end sends the update, and follows the transaction, the progress and the boot."""
    transaction = await charging(t)
    number = await _update(t)
    await _goes(t, number, "DownloadScheduled")
    await t.connector("Unavailable", 2)
    await transaction.stop_authorized()
    await transaction.post_session()
    await transaction.unplugged()
    await _goes(t, number, *_INSTALLED)
    await _reboots(t)
    await _goes(t, number, "Installed")


# -- of a local controller's stations

_CHECKSUM: Final = "d41d8cd98f00b204e9800998ecf8427e"


def _publishes(id: str, title: str, *statuses: str) -> None:  # noqa: A002
    @L.case(id, title, also="L03.FR.01", profiles=(), needs=("published firmware",))
    async def script(t: CsmsTest) -> None:
        """The back end has the right image published, and acknowledges the progress."""
        t.answer("PublishFirmware", {"status": "Accepted"})
        image: Payload = {"location": _LOCATION, "checksum": _CHECKSUM}
        sent = await t.asked("PublishFirmware", "L03", requestId=t.next_id(), **image)
        for status in statuses:
            more: dict[str, object] = (
                {"location": ["http://controller.example/1.2.3.bin"]} if status == "Published" else {}
            )
            about = {"status": status, "requestId": sent["requestId"]}
            await t.call("PublishFirmwareStatusNotification", **about, **more)


_publishes("TC_L_17_CSMS", "Image that is published", "Downloading", "Downloaded", "ChecksumVerified", "Published")
_publishes("TC_L_19_CSMS", "Image with another checksum", "Downloading", "Downloaded", "InvalidChecksum")
_publishes(
    "TC_L_20_CSMS", "Image that cannot be published", "Downloading", "Downloaded", "ChecksumVerified", "PublishFailed"
)
_publishes("TC_L_24_CSMS", "Image that cannot be downloaded", "Downloading", "DownloadFailed")


def _unpublishes(id: str, status: str) -> None:  # noqa: A002
    @L.case(
        id, f"End of a publication that is answered by {status}", also="L04", profiles=(), needs=("published firmware",)
    )
    async def script(t: CsmsTest) -> None:
        """The back end has the right image unpublished, and continues after the answer."""
        t.answer("UnpublishFirmware", {"status": status})
        await t.asked("UnpublishFirmware", "L04", checksum=_CHECKSUM)
        await t.call("Heartbeat")


_unpublishes("TC_L_21_CSMS", "Unpublished")
_unpublishes("TC_L_22_CSMS", "NoFirmware")
_unpublishes("TC_L_23_CSMS", "DownloadOngoing")
