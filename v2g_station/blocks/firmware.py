"""Firmware updates: download, signature check, installation into the other of two slots, cancellation (L01, L02).

The hardware downloads, writes the inactive slot, starts it, and rolls back if the new firmware does not start; it
reports its progress with `FirmwareProgress`.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages import firmware as ocpp
from v2g.ocpp.messages.base import EVSE, Message
from v2g.ocpp.times import parse_time
from v2g.ota.window import UpdateWindow
from v2g_station.blocks.availability import CloseStation
from v2g_station.blocks.security.certificate_store import CertificateStore, may_sign_code, parse_chain
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand, status_info
from v2g_station.kernel.local_time import local_time

SCHEMES: Final = ("http://", "https://")
ENDED: Final = frozenset(
    {"DownloadFailed", "InvalidSignature", "InstallVerificationFailed", "InstallationFailed", "Installed"}
)


_CHECK_MS: Final = 60_000
"""How often is looked whether an installation that is due may begin."""
_NUMBERS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")


class DownloadFirmware(StationCommand, frozen=True, kw_only=True):
    """Download firmware into the inactive slot; `FirmwareProgress` follows."""

    request_id: int
    url: str
    retries: int | None
    retry_interval_s: int


class Install(StationCommand, frozen=True, kw_only=True):
    """Write the download, which has this SHA-256, into the inactive slot; `InstallRebooting` follows."""

    request_id: int
    digest: bytes


class Activate(StationCommand, frozen=True, kw_only=True):
    """Restart into the written slot."""

    request_id: int


class ConfirmInstall(StationCommand, frozen=True, kw_only=True):
    """The station has started during an update: `Installed`, or the actual state, follows."""

    request_id: int


class CancelFirmware(StationCommand, frozen=True, kw_only=True):
    """Cancel the update; the active slot stays."""

    request_id: int


class FirmwareProgress(Fact, frozen=True, kw_only=True):
    """The progress of an update. `digest` is the SHA-256 of the download, with `Downloaded`; `reason` says why the
    repository of releases refuses it, with `InvalidSignature`."""

    status: ocpp.FirmwareStatus
    digest: bytes = b""
    reason: str = ""


class FirmwareJob(msgspec.Struct, frozen=True, kw_only=True):
    """An update in progress."""

    request_id: int
    url: str
    status: ocpp.FirmwareStatus
    retrieve_ms: int = 0
    """When the CSMS wants it downloaded."""
    install_ms: int
    """When the CSMS wants it installed; 0: it has not said."""
    certificate: str
    signature: str
    retries: int | None
    retry_interval_s: int
    digest: str = ""
    """SHA-256 (hexadecimal) of the image with a valid signature."""
    before: str = ""
    """The firmware that ran when the update was requested."""


class FirmwareUpdates(FunctionalBlock):
    """Handles firmware requests of the CSMS. `version` is that of the running firmware, `busy` returns whether a
    transaction runs, `promised` whether a driver has a reservation or is authorised, `close` prevents new ones.

    An update that the CSMS gives no time for is installed in the `window` of local time (R138).
    """

    def __init__(
        self,
        shared: Shared,
        store: CertificateStore,
        *,
        version: str,
        busy: Callable[[], bool],
        promised: Callable[[], bool],
        window: UpdateWindow | None,
        close: CloseStation,
        security_event: Callable[[str, str], None],
    ) -> None:
        super().__init__(shared)
        self._store = store
        stored = self._k.stored("firmware", FirmwareJob)
        self._job: FirmwareJob | None = stored.get("job")
        self._written = False
        """Whether the other slot is ready to start."""
        self._version = version
        self._busy, self._close, self._security_event = busy, close, security_event
        self._promised, self._window = promised, window
        self.answers: dict[str, Handler] = {"UpdateFirmware": self._update}

    def start(self) -> None:
        """Continue after a restart: into the new firmware, or after a power failure."""
        job = self._job
        if job is None:
            return
        if job.status == "Installing":
            self._install()
        elif job.status == "InstallRebooting":
            self._k.do(ConfirmInstall(request_id=job.request_id))
        elif job.digest:
            self._schedule_install()
        else:
            self._k.at_utc("firmware", job.retrieve_ms, self._download)

    # -- the CSMS

    def _update(self, request: ocpp.UpdateFirmwareRequest) -> Message:
        """L01."""
        firmware = request.firmware
        if not firmware.location.startswith(SCHEMES):
            return ocpp.UpdateFirmwareResponse(status="Rejected", status_info=status_info("InvalidURL"))
        certificate = firmware.signing_certificate or ""
        if not certificate or not firmware.signature:  # L01.FR.11, L02: unsigned firmware is not accepted
            return ocpp.UpdateFirmwareResponse(status="Rejected", status_info=status_info("MissingParam", "signature"))
        chain = parse_chain(certificate)
        trusted = self._store.trusted(chain, "ManufacturerRootCertificate") and may_sign_code(chain[0])  # L01.FR.12
        if not trusted:  # L01.FR.22
            # L01.FR.02; the URL may hold a password
            self._security_event("InvalidFirmwareSigningCertificate", f"request {request.request_id}")
            return ocpp.UpdateFirmwareResponse(status="InvalidCertificate")
        cancelled = self._job
        if cancelled is not None:
            if cancelled.status in ("Installing", "InstallRebooting"):
                return ocpp.UpdateFirmwareResponse(status="Rejected", status_info=status_info("FwUpdateInProgress"))
            self._k.do(CancelFirmware(request_id=cancelled.request_id))  # L01.FR.24
            self._close(closed=False)
        retrieve = parse_time(firmware.retrieve_date_time)
        self._keep(
            FirmwareJob(
                request_id=request.request_id,
                url=firmware.location,
                status="DownloadScheduled",
                retrieve_ms=retrieve,
                install_ms=parse_time(firmware.install_date_time) if firmware.install_date_time else 0,
                certificate=certificate,
                signature=firmware.signature,
                before=self._version,
                retries=request.retries,
                retry_interval_s=60 if request.retry_interval is None else request.retry_interval,
            )
        )
        if retrieve > self._k.utc_ms:
            self._k.after("firmware.report", 0, lambda: self._set("DownloadScheduled"))  # L01.FR.13
        self._k.at_utc("firmware", retrieve, self._download)
        return ocpp.UpdateFirmwareResponse(status="Accepted" if cancelled is None else "AcceptedCanceled")

    def trigger(self, _: EVSE | None) -> None:
        """Report the progress at the CSMS's request (F06.FR.16)."""
        job = self._job
        status: ocpp.FirmwareStatus = "Idle" if job is None else job.status
        self._k.call(
            ocpp.FirmwareStatusNotificationRequest(status=status, request_id=job.request_id if job else None),
            always=True,
        )

    # -- progress

    def progress(self, fact: FirmwareProgress) -> None:
        """Handle progress reported by the hardware."""
        job = self._job
        if job is None:
            return
        if fact.status == "InstallRebooting":
            self._written = True
            self._activate()
            return
        self._set(fact.status)
        if fact.status == "Downloaded":
            self._check(fact.digest)
        elif fact.status == "InvalidSignature":
            self._security_event("InvalidFirmwareSignature", f"request {job.request_id}: {fact.reason}")
        elif fact.status == "Installed":
            self._security_event("FirmwareUpdated", _step(job.before, self._version))

    def idle(self) -> None:
        """Continue what waited for the end of a transaction (L01.FR.06)."""
        if self._job is not None and self._job.status == "InstallScheduled":
            self._schedule_install()
        self._activate()

    def _activate(self) -> None:
        """Start the written slot once no transaction runs (L01.FR.15, .33)."""
        if self._job is not None and self._written and not self._busy():
            self._written = False
            self._set("InstallRebooting")
            self._k.keep_text("boot", "reason", "FirmwareUpdate")  # B01.FR.01
            self._k.do(Activate(request_id=self._job.request_id))

    def _download(self) -> None:
        job = self._job
        if job is not None:
            self._set("Downloading")
            self._k.do(
                DownloadFirmware(
                    request_id=job.request_id, url=job.url, retries=job.retries, retry_interval_s=job.retry_interval_s
                )
            )

    def _check(self, digest: bytes) -> None:
        """Check the signature of the download (L01.FR.03, .04)."""
        job = self._job
        assert job is not None
        if not _is_signed(digest, job.signature, job.certificate):
            self._set("InvalidSignature")
            self._security_event("InvalidFirmwareSignature", f"request {job.request_id}")
            return
        self._keep(msgspec.structs.replace(job, digest=digest.hex()))
        self._set("SignatureVerified")
        self._schedule_install()

    def _schedule_install(self) -> None:
        job = self._job
        if job is None:
            return
        install_ms, promised = self._installs_from(job), self._promised()
        due = install_ms <= self._k.utc_ms
        others = self._k.model.flag("ChargingStation.AllowNewSessionsPendingFirmwareUpdate")
        self._close(closed=due and not promised and not others)
        if due and not promised and not self._busy():
            self._set("Installing")
            self._install()
            return
        if job.status != "InstallScheduled":
            self._set("InstallScheduled")  # L01.FR.16
        # L01.FR.06: wait until no transaction runs; meanwhile a reservation may end, and so may the window
        self._k.at_utc("firmware", max(install_ms, self._k.utc_ms + _CHECK_MS), self._schedule_install)

    def _installs_from(self, job: FirmwareJob) -> int:
        """Return from when on an update may be installed (UTC, ms)."""
        if job.install_ms or self._window is None:
            return job.install_ms
        return self._window.next_open(self._k.utc_ms, local_time(self._k.model).offset_ms)

    def _install(self) -> None:
        """Write the inactive slot; no new transaction starts until that has ended."""
        assert self._job is not None
        self._close(closed=True)
        self._k.do(Install(request_id=self._job.request_id, digest=bytes.fromhex(self._job.digest)))

    def _set(self, status: ocpp.FirmwareStatus) -> None:
        job = self._job
        if job is None:
            return
        self._outbox.add(ocpp.FirmwareStatusNotificationRequest(status=status, request_id=job.request_id))
        if status in ENDED:
            self._job, self._written = None, False
            self._k.forget("firmware", "job")
            if job.status == "InstallRebooting":
                self._k.forget("boot", "reason")  # the other slot could not be started
            self._close(closed=False)
        else:
            self._keep(msgspec.structs.replace(job, status=status))

    def _keep(self, job: FirmwareJob) -> None:
        self._job = job
        self._k.keep("firmware", "job", job)


def _is_signed(digest: bytes, signature: str, certificate: str) -> bool:
    """Return whether a base64 signature of a SHA-256 digest was made with a certificate's key."""
    chain = parse_chain(certificate)
    try:
        raw = base64.b64decode(signature, validate=True)
        key = chain[0].public_key()
        prehashed = utils.Prehashed(hashes.SHA256())
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(raw, digest, ec.ECDSA(prehashed))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(raw, digest, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH), prehashed)
        else:
            return False
    except (InvalidSignature, binascii.Error, ValueError, IndexError):
        return False
    return True


def _step(before: str, now: str) -> str:
    """Return what an update has changed; that it went back is said of versions that are numbers with dots."""
    if not before or before == now:
        return now
    older = _NUMBERS.fullmatch(before) and _NUMBERS.fullmatch(now) and _numbers(now) < _numbers(before)
    return f"{before} to {now}" + (", which is older" if older else "")


def _numbers(version: str) -> list[int]:
    return [int(each) for each in version.split(".")]
