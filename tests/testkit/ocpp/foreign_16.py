"""A station and a back end of OCPP 1.6 that are not ours, made with the package `ocpp`."""

import asyncio
import base64
import contextlib
import itertools
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.exceptions import ConnectionClosedOK

from tests.testkit.ocpp.foreign import Change, End, Payload, acknowledges, pipe
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.times import format_time, parse_time
from v2g_testkit.ocpp.case import NotApplicable
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.declaration import CsmsDeclaration
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.station_tester import Opening, StationTester

IDENTITY: Final = "FOREIGN16"
PASSWORD: Final = "a-password-of-32-characters-4321"
KEYS: Final = {
    "AuthorizeRemoteTxRequests": "true", "ClockAlignedDataInterval": "0", "ConnectionTimeOut": "60",
    "ConnectorPhaseRotation": "NotApplicable", "HeartbeatInterval": "300", "LocalAuthorizeOffline": "true",
    "LocalPreAuthorize": "false", "MeterValuesAlignedData": "Energy.Active.Import.Register",
    "MeterValuesSampledData": "Energy.Active.Import.Register", "MeterValueSampleInterval": "60", "ResetRetries": "1",
    "StopTransactionOnEVSideDisconnect": "true", "StopTransactionOnInvalidId": "true", "StopTxnAlignedData": "",
    "StopTxnSampledData": "", "TransactionMessageAttempts": "3", "TransactionMessageRetryInterval": "5",
    "UnlockConnectorOnEVSideDisconnect": "true", "AuthorizationCacheEnabled": "true",
    "AllowOfflineTxForUnknownId": "true", "LocalAuthListEnabled": "true",
}  # fmt: skip
READ_ONLY: Final = {
    "GetConfigurationMaxKeys": "50", "NumberOfConnectors": "1", "ChargeProfileMaxStackLevel": "3",
    "SupportedFeatureProfiles": "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,"
    "RemoteTrigger", "ReserveConnectorZeroSupported": "true", "SupportedFileTransferProtocols": "HTTP",
    "ChargingScheduleAllowedChargingRateUnit": "Current", "ChargingScheduleMaxPeriods": "20", "SecurityProfile": "1",
}  # fmt: skip


class Station16(ChargePoint):  # type: ignore[misc]
    """Its end of one connection: a connector, which charges a vehicle whose driver has presented a token."""

    def __init__(self, end: End, now_ms: Callable[[], int], before: "Station16 | None" = None) -> None:
        super().__init__(IDENTITY, end, response_timeout=20)
        self._now_ms = now_ms
        self.state: dict[str, Any] = before.state if before is not None else {
            "values": {**KEYS, **READ_ONLY}, "plugged": False, "tag": "", "transaction": 0, "operative": True,
            "cache": {}, "list": {}, "version": 0, "reservation": None, "profiles": {}, "queue": [], "tag_parent": "",
            "roots": [], "makers": [], "status": "Available", "meter": itertools.count(1000, 10), "waits": 0,
            "password": PASSWORD,
        }  # fmt: skip
        self.again = ""
        self.online = True

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["state"][name]
        except KeyError:
            raise AttributeError(name) from None

    def _now(self) -> str:
        return format_time(self._now_ms())

    def _is(self, key: str) -> bool:
        return bool(self.values[key] == "true")

    async def boot(self) -> None:
        while True:
            answer = await self.call(call.BootNotification("F", "Foreign"))
            if answer is None:
                return
            if answer.status == "Accepted":
                break
            await asyncio.sleep(answer.interval)
        self.values["HeartbeatInterval"] = str(answer.interval)
        await self.call(call.StatusNotification(0, "NoError", "Available", self._now()))
        await self.tell(self.state["status"])
        await self.flush()

    async def live(self) -> None:
        """Send heartbeats and readings, let authorizations and reservations pass."""
        beat = sample = 0
        while True:
            await asyncio.sleep(1)
            beat, sample = beat + 1, sample + 1
            if beat >= int(self.values["HeartbeatInterval"]):
                beat = 0
                await self.call(call.Heartbeat())
            clock = int(self.values["ClockAlignedDataInterval"])
            second, every = self._now_ms() // 1000, int(self.values["MeterValueSampleInterval"])
            for context, now, period in (("Sample.Periodic", sample, every), ("Sample.Clock", second, clock)):
                if period and self.transaction and now % period == 0:
                    await self.read(context)
            if self.tag and not self.transaction and not self.plugged:
                self.state["waits"] += 1
                if self.waits >= int(self.values["ConnectionTimeOut"]):
                    self.state["tag"], self.state["waits"] = "", 0
                    await self.tell("Available")
            if self.reservation is not None and parse_time(self.reservation["expiry_date"]) < self._now_ms():
                self.state["reservation"] = None
                await self.tell("Available")

    async def read(self, context: str) -> None:
        sample = {"value": str(next(self.meter)), "context": context}
        if self.values["MeterValuesSampledData"] == "Current.Import":
            sample |= {"value": str(self._limit()), "measurand": "Current.Import", "unit": "A"}
        value = {"timestamp": self._now(), "sampled_value": [sample]}
        more = {"transaction_id": self.transaction} if self.transaction else {}
        await self.call(call.MeterValues(1, [value], **more))

    async def tell(self, status: str) -> None:
        self.state["status"] = status
        if self.online:
            await self.call(call.StatusNotification(1, "NoError", status, self._now()))

    # -- drivers

    async def _knows(self, tag: str, *, ask: bool = True) -> str:
        known = self.list if self._is("LocalAuthListEnabled") else {}
        if self._is("LocalPreAuthorize") and (tag in known or tag in self.cache):
            return str({**self.cache, **known}[tag])
        if not self.online:
            return "Accepted" if self._is("AllowOfflineTxForUnknownId") else "Invalid"
        answer = await self.call(call.Authorize(tag)) if ask else None
        info = {} if answer is None else answer.id_tag_info
        self.state["parent"] = info.get("parent_id_tag", "")
        return str(info.get("status", "Invalid"))

    async def present(self, tag: str) -> None:
        if self.transaction:
            known = tag == self.tag or await self._knows(tag) == "Accepted"
            if known and (tag == self.tag or (self.parent and self.parent == self.tag_parent)):
                await self.stop("Local", tag)
            return
        held = self.reservation
        group = "" if held is None else held.get("parent_id_tag", "")
        if not self.operative or (held is not None and held["id_tag"] != tag and not group):
            return
        known = await self._knows(tag) == "Accepted"
        if known and (held is None or held["id_tag"] == tag or self.parent == group):
            await self.take(tag)

    async def take(self, tag: str) -> None:
        self.state["tag"], self.state["waits"] = tag, 0
        self.state["tag_parent"] = self.state.get("parent", "")
        if not self.plugged:
            await self.tell("Preparing")
        await self.start_transaction()

    async def plug(self) -> None:
        self.state["plugged"] = True
        if self.operative and self.status == "Available":
            await self.tell("Preparing")
        await self.start_transaction()

    async def start_transaction(self) -> None:
        if not self.plugged or not self.tag or self.transaction or not self.operative:
            return
        more = {} if self.reservation is None else {"reservation_id": self.reservation["reservation_id"]}
        self.state["reservation"] = None
        request = call.StartTransaction(1, self.tag, next(self.meter), self._now(), **more)
        self.state["transaction"] = -1
        if not self.online:
            self.queue.append(request)
            self.state["status"] = "Charging"
            return
        await self._begin(request)
        if self.transaction:
            await self.tell("Charging")

    async def _begin(self, request: Any) -> None:
        answer = await self.call(request)
        if answer is None:
            return
        self.state["transaction"] = answer.transaction_id
        self.state["last"] = answer.transaction_id
        status = answer.id_tag_info["status"]
        if status == "Accepted":
            self.cache[request.id_tag] = "Accepted"
        elif self._is("StopTransactionOnInvalidId"):
            await self.stop("DeAuthorized")

    async def stop(self, reason: str, tag: str = "") -> None:
        more: Payload = {"id_tag": tag} if tag else {}
        if self.values["StopTxnSampledData"]:
            sample = {"value": str(next(self.meter)), "context": "Transaction.End"}
            more["transaction_data"] = [{"timestamp": self._now(), "sampled_value": [sample]}]
        request = call.StopTransaction(next(self.meter), self._now(), self.transaction, reason, **more)
        self.state["transaction"], self.state["tag"] = 0, ""
        for each in [each for each, one in self.profiles.items() if one["purpose"] == "TxProfile"]:
            del self.profiles[each]
        if not self.online:
            self.queue.append(request)
            self.state["status"] = "Finishing"
            return
        for number in range(1, int(self.values["TransactionMessageAttempts"]) + 1):
            if await self.call(request) is not None:
                break
            await asyncio.sleep(number * int(self.values["TransactionMessageRetryInterval"]))
        await self.tell("Finishing" if self.plugged else "Available")

    async def flush(self) -> None:
        """Send what has waited."""
        while self.queue:
            request = self.queue.pop(0)
            if isinstance(request, call.StartTransaction):
                going = self.transaction
                await self._begin(request)
                self.state["transaction"] = self.transaction if going else 0
            else:
                request.transaction_id = self.last if request.transaction_id == -1 else request.transaction_id
                await self.call(request)
        await self.tell(self.status)

    async def unplug(self) -> None:
        self.state["plugged"] = False
        if self.transaction:
            await self.stop("EVDisconnected")
        else:
            await self.tell("Available" if self.operative else "Unavailable")

    # -- requests of the back end

    @on("GetConfiguration")
    def tells(self, key: list[str] | None = None) -> Any:
        names = key or list(self.values)
        found = [{"key": each, "readonly": each in READ_ONLY, "value": self.values[each]}
                 for each in names if each in self.values]  # fmt: skip
        return call_result.GetConfiguration(found, [each for each in names if each not in self.values])

    @on("ChangeConfiguration")
    def changes(self, key: str, value: str) -> Any:
        if key == "AuthorizationKey":
            self.state["password"], self.again = value, "key"
            return call_result.ChangeConfiguration("Accepted")
        if key not in self.values:
            return call_result.ChangeConfiguration("NotSupported")
        before, flags = KEYS.get(key, ""), ("true", "false")
        wrong = key in READ_ONLY or (before.isdecimal() and not value.isdecimal())
        wrong |= (before in flags and value not in flags) or value == "Nothing"
        if not wrong:
            self.values[key] = value
        return call_result.ChangeConfiguration("Rejected" if wrong else "Accepted")

    @on("Reset")
    def resets(self, type: str) -> Any:  # noqa: A002
        return call_result.Reset("Accepted")

    @after("Reset")
    async def has_reset(self, type: str) -> None:  # noqa: A002
        if self.transaction and type == "Soft":
            await self.stop("SoftReset")
        elif self.transaction:
            self.online = False
            await self.stop("HardReset")
            self.state["status"] = "Finishing"
        await asyncio.sleep(1)
        self.again = type
        await self._connection.close()

    @on("TriggerMessage")
    def is_asked(self, requested_message: str, connector_id: int | None = None) -> Any:
        return call_result.TriggerMessage("Rejected" if connector_id not in (None, 0, 1) else "Accepted")

    @after("TriggerMessage")
    async def says(self, requested_message: str, connector_id: int | None = None) -> None:
        match requested_message:
            case "Heartbeat":
                await self.call(call.Heartbeat())
            case "StatusNotification":
                await self.tell(self.status)
            case "MeterValues" if connector_id == 1:
                await self.read("Trigger")
            case "BootNotification":
                await self.call(call.BootNotification("F", "Foreign"))
            case "DiagnosticsStatusNotification":
                await self.call(call.DiagnosticsStatusNotification("Idle"))
            case "FirmwareStatusNotification":
                await self.call(call.FirmwareStatusNotification("Idle"))

    @on("RemoteStartTransaction")
    def starts(self, id_tag: str, connector_id: int | None = None, **_: Any) -> Any:
        busy = self.transaction or connector_id == 0 or not self.operative
        return call_result.RemoteStartTransaction("Rejected" if busy else "Accepted")

    @after("RemoteStartTransaction")
    async def has_started(self, id_tag: str, connector_id: int | None = None, **more: Any) -> None:
        if self.transaction or connector_id == 0 or not self.operative:
            return
        if self._is("AuthorizeRemoteTxRequests") and await self._knows(id_tag) != "Accepted":
            return
        if "charging_profile" in more:
            self._store(more["charging_profile"])
        await self.take(id_tag)

    @on("RemoteStopTransaction")
    def stops(self, transaction_id: int) -> Any:
        return call_result.RemoteStopTransaction("Accepted" if transaction_id == self.transaction else "Rejected")

    @after("RemoteStopTransaction")
    async def has_stopped(self, transaction_id: int) -> None:
        if transaction_id == self.transaction:
            await self.stop("Remote")

    @on("UnlockConnector")
    def unlocks(self, connector_id: int) -> Any:
        return call_result.UnlockConnector("NotSupported")

    @on("ChangeAvailability")
    def is_available(self, connector_id: int, type: str) -> Any:  # noqa: A002
        return call_result.ChangeAvailability("Scheduled" if self.transaction else "Accepted")

    @after("ChangeAvailability")
    async def has_changed(self, connector_id: int, type: str) -> None:  # noqa: A002
        before, self.state["operative"] = self.operative, type == "Operative"
        if before != self.operative and not self.transaction:
            await self.tell("Available" if self.operative else "Unavailable")

    @on("ClearCache")
    def forgets(self) -> Any:
        self.cache.clear()
        return call_result.ClearCache("Accepted")

    @on("DataTransfer")
    def transfers(self, **_: Any) -> Any:
        return call_result.DataTransfer("UnknownVendorId")

    @on("GetLocalListVersion")
    def version_of_list(self) -> Any:
        return call_result.GetLocalListVersion(self.version)

    @on("SendLocalList")
    def lists(self, list_version: int, update_type: str, local_authorization_list: Any = ()) -> Any:
        if update_type == "Differential" and list_version <= self.version:
            return call_result.SendLocalList("VersionMismatch")
        if update_type == "Full":
            self.list.clear()
        for each in local_authorization_list:
            if "id_tag_info" in each:
                self.list[each["id_tag"]] = each["id_tag_info"]["status"]
            else:
                self.list.pop(each["id_tag"], None)
        self.state["version"] = list_version
        return call_result.SendLocalList("Accepted")

    @on("ReserveNow")
    def reserves(self, **wanted: Any) -> Any:
        status = "Unavailable" if not self.operative else "Occupied" if self.transaction else "Accepted"
        if status == "Accepted":
            self.state["reservation"] = wanted
        return call_result.ReserveNow(status)

    @after("ReserveNow")
    async def has_reserved(self, **_: Any) -> None:
        if self.reservation is not None:
            await self.tell("Reserved")

    @on("CancelReservation")
    def cancels(self, reservation_id: int) -> Any:
        known = self.reservation is not None and self.reservation["reservation_id"] == reservation_id
        if known:
            self.state["reservation"] = None
            self.again = "cancel"
        return call_result.CancelReservation("Accepted" if known else "Rejected")

    @after("CancelReservation")
    async def has_cancelled(self, reservation_id: int) -> None:
        if self.again == "cancel":
            self.again = ""
            await self.tell("Available")

    def _store(self, profile: Payload, connector: int = 1) -> None:
        begun, schedule = parse_time(self._now()), profile["charging_schedule"]
        about = {
            "purpose": profile["charging_profile_purpose"], "level": profile["stack_level"], "at": connector,
            "start": parse_time(schedule["start_schedule"]) if "start_schedule" in schedule else begun,
            "duration": schedule.get("duration", 10**9),
            "periods": [(one["start_period"], float(one["limit"])) for one in schedule["charging_schedule_period"]],
        }  # fmt: skip
        same = ("purpose", "level", "at")
        for each in [each for each, one in self.profiles.items() if all(one[name] == about[name] for name in same)]:
            del self.profiles[each]
        self.profiles[profile["charging_profile_id"]] = about

    @on("SetChargingProfile")
    def limits(self, connector_id: int, cs_charging_profiles: Payload) -> Any:
        purpose, periods = (cs_charging_profiles[each] for each in ("charging_profile_purpose", "charging_schedule"))
        wrong = connector_id > 1 or cs_charging_profiles["stack_level"] > 3
        wrong |= len(periods["charging_schedule_period"]) > 20 or (purpose == "ChargePointMaxProfile" and connector_id)
        if purpose == "TxProfile":
            wrong |= not self.transaction or cs_charging_profiles.get("transaction_id") != self.transaction
        if wrong:
            return call_result.SetChargingProfile("Rejected")
        self._store(cs_charging_profiles, connector_id)
        return call_result.SetChargingProfile("Accepted")

    @on("ClearChargingProfile")
    def clears(self, id: int | None = None, **criteria: Any) -> Any:  # noqa: A002
        names = {"purpose": "charging_profile_purpose", "level": "stack_level", "at": "connector_id"}
        found = [
            each for each, one in self.profiles.items()
            if (each == id if id is not None else all(one[mine] == criteria.get(its, one[mine])
                                                      for mine, its in names.items()))
        ]  # fmt: skip
        for each in found:
            del self.profiles[each]
        return call_result.ClearChargingProfile("Accepted" if found else "Unknown")

    def _limit(self, after_s: float = 0.0) -> float:
        def of(purpose: str) -> list[float]:
            found = []
            for one in self.profiles.values():
                at_s = (self._now_ms() - one["start"]) / 1000 + after_s
                limits = [limit for begin, limit in one["periods"] if begin <= at_s < one["duration"]]
                found += [(one["level"], limits[-1])] if limits and one["purpose"] == purpose else []
            return [limit for _, limit in sorted(found)[-1:]]

        return min([32.0, *of("ChargePointMaxProfile"), *(of("TxProfile") or of("TxDefaultProfile"))])

    @on("GetCompositeSchedule")
    def composite(self, connector_id: int, duration: int, **_: Any) -> Any:
        periods = [{"start_period": at_s, "limit": self._limit(at_s)} for at_s in range(0, duration, 15)]
        schedule = {"charging_rate_unit": "A", "charging_schedule_period": periods}
        return call_result.GetCompositeSchedule("Accepted", connector_id, self._now(), schedule)

    async def _fetch(self, location: str, tell: Callable[[str], Any]) -> bytes | None:
        """Download an image, and tell how that goes."""
        await self.call(tell("Downloading"))
        try:
            with urllib.request.urlopen(location) as answer:
                image: bytes = answer.read()
        except OSError:
            await self.call(tell("DownloadFailed"))
            return None
        await self.call(tell("Downloaded"))
        return image

    async def _set_up(self, image: bytes, tell: Callable[[str], Any]) -> None:
        await self.call(tell("Installing"))
        await self.call(tell("Installed" if image else "InstallationFailed"))

    def _put(self, location: str, name: str) -> bool:
        """Upload a log."""
        request = urllib.request.Request(f"{location}{name}", data=b"a log", method="PUT")
        try:
            urllib.request.urlopen(request).close()
        except OSError:
            return False
        return True

    @on("UpdateFirmware")
    def updates(self, **_: Any) -> Any:
        return call_result.UpdateFirmware()

    @after("UpdateFirmware")
    async def has_updated(self, location: str, retrieve_date: str, **_: Any) -> None:
        await asyncio.sleep(max(0, parse_time(retrieve_date) - self._now_ms()) / 1000)
        image = await self._fetch(location, call.FirmwareStatusNotification)
        if image is not None:
            await self._set_up(image, call.FirmwareStatusNotification)

    def _trusts(self, firmware: Payload) -> bool:
        leaf = x509.load_pem_x509_certificate(firmware["signing_certificate"].encode())
        for pem in self.makers:
            with contextlib.suppress(InvalidSignature, ValueError):
                leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(pem.encode()))
                return True
        return False

    @on("SignedUpdateFirmware")
    def updates_signed(self, firmware: Payload, **_: Any) -> Any:
        return call_result.SignedUpdateFirmware("Accepted" if self._trusts(firmware) else "InvalidCertificate")

    @after("SignedUpdateFirmware")
    async def has_updated_signed(self, request_id: int, firmware: Payload, **_: Any) -> None:
        def tell(status: str) -> Any:
            return call.SignedFirmwareStatusNotification(status, request_id)

        if not self._trusts(firmware):
            await self.call(call.SecurityEventNotification("InvalidFirmwareSigningCertificate", self._now(), None))
            return
        image = await self._fetch(firmware["location"], tell)
        if image is None:
            return
        key = x509.load_pem_x509_certificate(firmware["signing_certificate"].encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            key.verify(base64.b64decode(firmware["signature"]), image, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            await self.call(tell("InvalidSignature"))
            await self.call(call.SecurityEventNotification("InvalidFirmwareSignature", self._now(), None))
            return
        await self.call(tell("SignatureVerified"))
        await self._set_up(image, tell)

    @on("GetDiagnostics")
    def diagnoses(self, **_: Any) -> Any:
        return call_result.GetDiagnostics("d.log")

    @after("GetDiagnostics")
    async def has_diagnosed(self, location: str, **_: Any) -> None:
        await self.call(call.DiagnosticsStatusNotification("Uploading"))
        status = "Uploaded" if self._put(location, "d.log") else "UploadFailed"
        await self.call(call.DiagnosticsStatusNotification(status))

    @on("GetLog")
    def logs(self, request_id: int, **_: Any) -> Any:
        return call_result.GetLog("Accepted", "s.log")

    @after("GetLog")
    async def has_logged(self, request_id: int, log: Payload, **_: Any) -> None:
        await self.call(call.LogStatusNotification("Uploading", request_id))
        status = "Uploaded" if self._put(log["remote_location"], "s.log") else "UploadFailure"
        await self.call(call.LogStatusNotification(status, request_id))

    @on("InstallCertificate")
    def installs(self, certificate_type: str, certificate: str) -> Any:
        number = len(self.roots) + 1
        hashed = {"hash_algorithm": "SHA256", "issuer_name_hash": "aa", "issuer_key_hash": "bb",
                  "serial_number": str(number)}  # fmt: skip
        self.roots.append((certificate_type, hashed))
        if certificate_type == "ManufacturerRootCertificate":
            self.makers.append(certificate)
        return call_result.InstallCertificate("Accepted")

    @on("GetInstalledCertificateIds")
    def has_roots(self, certificate_type: str) -> Any:
        found = [hashed for kind, hashed in self.roots if kind == certificate_type]
        return call_result.GetInstalledCertificateIds("Accepted" if found else "NotFound", found or None)

    @on("DeleteCertificate")
    def deletes(self, certificate_hash_data: Payload) -> Any:
        found = [each for each in self.roots if each[1] == certificate_hash_data]
        for each in found:
            self.roots.remove(each)
        return call_result.DeleteCertificate("Accepted" if found else "NotFound")


class Stations16:
    """The foreign station, which connects to a tester, and its driver."""

    def __init__(self, change: Change, now_ms: Callable[[], int]) -> None:
        self._change, self._now_ms = change, now_ms
        self.station: Station16 | None = None

    async def run(self, tester: StationTester) -> None:
        """Connect to the tester, again after each end."""
        while True:
            if tester.refuses:
                await asyncio.sleep(0.5)
                continue
            lab, device = pipe(self._change)
            before = self.station
            self.station = station = Station16(device, self._now_ms, before)
            tester.opening = Opening(host="127.0.0.1:1", username=IDENTITY, password=station.state["password"])
            serving = asyncio.create_task(tester.serve(OcppSocket(lab, IDENTITY, "1.6")))
            reading = asyncio.create_task(self._read(station))
            living = asyncio.create_task(self._live(station, booting=before is None or bool(before.again)))
            await asyncio.wait({serving, reading}, return_when=asyncio.FIRST_COMPLETED)
            station.online = False
            living.cancel()
            await asyncio.gather(serving, reading, living, return_exceptions=True)
            await asyncio.sleep(1)

    async def _live(self, station: Station16, *, booting: bool) -> None:
        with contextlib.suppress(ConnectionClosedOK):
            if booting:
                await station.boot()
            else:
                await station.flush()
            await station.live()

    async def _read(self, station: Station16) -> None:
        with contextlib.suppress(ConnectionClosedOK):
            await station.start()

    async def do(self, step: Step) -> None:
        """See Driver."""
        station = self.station
        assert station is not None
        with contextlib.suppress(TimeoutError):  # it is not answered, which is not the driver's trouble
            match step.action:
                case "plug" if step.evse == 1:
                    await station.plug()
                case "unplug" if step.evse == 1:
                    await station.unplug()
                case "present" if step.evse == 1:
                    await station.present(step.token)
                case _:
                    raise NotApplicable(f"not possible: {step.sentence}")


@acknowledges(
    call_result, "StopTransaction", "StatusNotification", "MeterValues", "FirmwareStatusNotification",
    "SignedFirmwareStatusNotification", "DiagnosticsStatusNotification", "LogStatusNotification",
    "SecurityEventNotification",
)  # fmt: skip
class BackEnd16(ChargePoint):  # type: ignore[misc]
    """A back end's end of one connection."""

    numbers = itertools.count(1)

    def __init__(self, identity: str, end: End, declared: CsmsDeclaration, now_ms: Callable[[], int]) -> None:
        super().__init__(identity, end, response_timeout=20)
        self._now_ms = now_ms
        self._tags = {
            declared.token.id: "Accepted", declared.group_token.id: "Accepted", declared.blocked_token.id: "Blocked",
            declared.expired_token.id: "Expired",
        }  # fmt: skip
        self._group = {each.id: {"parent_id_tag": declared.group} for each in (declared.token, declared.group_token)}

    def _info(self, tag: str) -> Payload:
        return {"status": self._tags.get(tag.upper(), "Invalid"), **self._group.get(tag.upper(), {})}

    @on("BootNotification")
    def boots(self, **_: Any) -> Any:
        return call_result.BootNotification(format_time(self._now_ms()), 300, "Accepted")

    @on("Heartbeat")
    def beats(self) -> Any:
        return call_result.Heartbeat(format_time(self._now_ms()))

    @on("Authorize")
    def authorizes(self, id_tag: str) -> Any:
        return call_result.Authorize(self._info(id_tag))

    @on("StartTransaction")
    def starts(self, **request: Any) -> Any:
        return call_result.StartTransaction(next(self.numbers), self._info(request["id_tag"]))

    @on("DataTransfer")
    def transfers(self, **_: Any) -> Any:
        return call_result.DataTransfer("UnknownVendorId")

    @on("SignCertificate")
    def signs(self, **_: Any) -> Any:
        return call_result.SignCertificate("Accepted")

    @after("SignCertificate")
    async def has_signed(self, csr: str) -> None:
        chain = Authority("CSMSRootCertificate", format_time(self._now_ms())).signed(csr)
        await self.call(call.CertificateSigned(chain), suppress=True)
