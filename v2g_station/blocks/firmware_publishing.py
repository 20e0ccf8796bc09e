"""Firmware that the station publishes to others on its site, like a local controller (L03, L04).

A file is identified by its MD5 checksum, which protects against accidents only: the installing station checks the
manufacturer's signature (L01). Published files are published again after a restart.
"""

import re
from typing import Final

import msgspec

from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages import firmware as ocpp
from v2g.ocpp.messages.base import EVSE, Message
from v2g_station.blocks.firmware import SCHEMES
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand, status_info

COLLECTION: Final = "published"
MOST: Final = 4
"""Maximum number of files published at once."""

_CHECKSUM: Final = re.compile(r"[0-9a-fA-F]{32}")
_FAILED: Final = frozenset({"DownloadFailed", "InvalidChecksum", "PublishFailed"})


class Publish(StationCommand, frozen=True, kw_only=True):
    """Fetch a file if necessary, check it, and publish it; `PublishProgress` follows."""

    request_id: int
    url: str
    checksum: str
    retries: int | None
    retry_interval_s: int


class Unpublish(StationCommand, frozen=True, kw_only=True):
    """Stop publishing a file, and delete it."""

    checksum: str


class PublishProgress(Fact, frozen=True, kw_only=True):
    """The progress of a publication; `locations` are the file's URLs, with `Published`."""

    checksum: str
    status: ocpp.PublishFirmwareStatus
    locations: tuple[str, ...] = ()


class Fetched(Fact, frozen=True, kw_only=True):
    """The number of current downloads of a published file."""

    checksum: str
    count: int


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A published file, or one to be published."""

    request_id: int
    url: str
    checksum: str
    status: ocpp.PublishFirmwareStatus = "DownloadScheduled"
    retries: int | None
    retry_interval_s: int


class Publishing(FunctionalBlock):
    """Handles publication requests of the CSMS."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._files = {each.checksum: each for each in self._k.stored(COLLECTION, Publication).values()}
        self._fetching: dict[str, int] = {}
        self._last: ocpp.PublishFirmwareStatusNotificationRequest | None = None
        self._reported: set[str] = set()
        """Files whose publication the CSMS already knows."""
        self.answers: dict[str, Handler] = {"PublishFirmware": self._publish, "UnpublishFirmware": self._unpublish}

    def start(self) -> None:
        """Continue after a restart; files already published are not reported again."""
        for each in self._files.values():
            if each.status == "Published":
                self._reported.add(each.checksum)
            self._begin(each)

    # -- the CSMS

    def _publish(self, request: ocpp.PublishFirmwareRequest) -> Message:
        """L03."""
        checksum = request.checksum.lower()
        why = None
        if not request.location.startswith(SCHEMES):
            why = status_info("InvalidURL")
        elif not _CHECKSUM.fullmatch(checksum):
            why = status_info("InvalidValue", "checksum must be an MD5 in hexadecimal digits")
        elif any(each.status != "Published" for each in self._files.values()):
            why = status_info("FwUpdateInProgress", "another file is being published")
        elif checksum not in self._files and len(self._files) >= MOST:
            why = status_info("TooManyElements", f"already {MOST} files published")
        if why is not None:
            return ocpp.PublishFirmwareResponse(status="Rejected", status_info=why)
        wanted = Publication(
            request_id=request.request_id,
            url=request.location,
            checksum=checksum,
            retries=request.retries,
            retry_interval_s=60 if request.retry_interval is None else request.retry_interval,
        )
        self._reported.discard(checksum)
        self._keep(wanted)
        self._k.after("publish", 0, lambda: self._begin(wanted))
        return ocpp.PublishFirmwareResponse(status="Accepted")

    def _unpublish(self, request: ocpp.UnpublishFirmwareRequest) -> Message:
        """L04."""
        checksum = request.checksum.lower()
        found = self._files.get(checksum)
        if found is None:
            return ocpp.UnpublishFirmwareResponse(status="NoFirmware")  # L04.FR.03
        if found.status != "Published" or self._fetching.get(checksum):
            return ocpp.UnpublishFirmwareResponse(status="DownloadOngoing")  # L04.FR.04
        self._forget(checksum)
        self._k.do(Unpublish(checksum=checksum))
        return ocpp.UnpublishFirmwareResponse(status="Unpublished")  # L04.FR.02

    def trigger(self, _: EVSE | None) -> None:
        """Report the last status at the CSMS's request, Idle once it was Published (L03.FR.10, .11)."""
        last = self._last
        if last is None or last.status == "Published":
            last = ocpp.PublishFirmwareStatusNotificationRequest(status="Idle")
        self._k.call(last, always=True)

    # -- progress

    def _begin(self, wanted: Publication) -> None:
        self._k.do(
            Publish(
                request_id=wanted.request_id,
                url=wanted.url,
                checksum=wanted.checksum,
                retries=wanted.retries,
                retry_interval_s=wanted.retry_interval_s,
            )
        )

    def progress(self, fact: PublishProgress) -> None:
        """Handle the progress of a publication (L03.FR.01, .06 to .09)."""
        found = self._files.get(fact.checksum)
        if found is None:
            return
        known = fact.checksum in self._reported
        if fact.status in _FAILED:
            self._forget(fact.checksum)
        elif not known:
            self._keep(msgspec.structs.replace(found, status=fact.status))
        if not known or fact.status in _FAILED:
            self._last = ocpp.PublishFirmwareStatusNotificationRequest(
                status=fact.status, location=fact.locations, request_id=found.request_id
            )
            self._outbox.add(self._last)

    def fetched(self, fact: Fetched) -> None:
        """Handle a change of the number of downloads."""
        self._fetching[fact.checksum] = fact.count
        if not fact.count:
            del self._fetching[fact.checksum]

    def _keep(self, found: Publication) -> None:
        self._files[found.checksum] = found
        self._k.keep(COLLECTION, found.checksum, found)

    def _forget(self, checksum: str) -> None:
        del self._files[checksum]
        self._k.forget(COLLECTION, checksum)
