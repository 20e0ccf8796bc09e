"""A charging station that is not ours, made with the package `ocpp`, joined to the lab in memory."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Final

from ocpp.routing import after, on
from ocpp.v201 import ChargePoint, call, call_result
from websockets.exceptions import ConnectionClosedOK

from tests.testkit.ocpp.foreign import Change, Payload, pipe
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.times import format_time
from v2g_testkit.ocpp.case import NotApplicable
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.station_tester import StationTester

IDENTITY: Final = "FOREIGN"
_WRITABLE: Final = {
    "AuthCtrlr.LocalAuthorizeOffline": "true", "OCPPCommCtrlr.OfflineThreshold": "60",
    "OCPPCommCtrlr.HeartbeatInterval": "300", "OCPPCommCtrlr.ResetRetries": "1",
    "SampledDataCtrlr.TxUpdatedInterval": "0", "TxCtrlr.EVConnectionTimeOut": "30",
    "AuthCtrlr.AuthorizeRemoteStart": "false", "TxCtrlr.StopTxOnInvalidId": "true",
}  # fmt: skip
_READ_ONLY: Final = {
    "TxCtrlr.TxStartPoint": "PowerPathClosed", "TxCtrlr.TxStopPoint": "EVConnected,PowerPathClosed",
    "OCPPCommCtrlr.FileTransferProtocols": "HTTPS", "DeviceDataCtrlr.ItemsPerMessage": "20",
    "ChargingStation.AvailabilityState": "Available", "OCPPCommCtrlr.MessageTimeout": "",
}  # fmt: skip


def _kind(value: str) -> str:
    return "number" if value.isdigit() else "flag" if value in ("true", "false") else "text"


class Station(ChargePoint):  # type: ignore[misc]
    """Its end of one connection: an EVSE, which charges a vehicle whose driver has presented a token."""

    patient = False
    """Whether it waits for a cable for ever."""
    timeout_s = 30
    """Its MessageTimeout."""

    def __init__(self, end: Any, now_ms: Callable[[], int]) -> None:
        super().__init__(IDENTITY, end, response_timeout=self.timeout_s)
        self._now_ms = now_ms
        self.values = {**_WRITABLE, **_READ_ONLY, "OCPPCommCtrlr.MessageTimeout": str(self.timeout_s)}
        self.plugged = False
        self.token: Payload = {}
        self.shown_ms = 0
        self.remote: Payload = {}
        self.again = ""
        """Why it boots next."""
        self.transaction = ""
        self._seq, self._numbers = itertools.count(), itertools.count(1)
        self._availability = "Operative"

    def take_over(self, before: "Station") -> None:
        """Continue as it was on the connection before."""
        self.plugged, self.values, self._availability = before.plugged, before.values, before._availability
        self.transaction, self.token, self._seq = before.transaction, before.token, before._seq
        self.shown_ms = before.shown_ms

    def _now(self) -> str:
        return format_time(self._now_ms())

    async def boot(self, reason: str = "PowerUp") -> None:
        answer = await self.call(call.BootNotification({"model": "F", "vendor_name": "Foreign"}, reason))
        if answer is not None and answer.status == "Accepted":
            await self.state(self._status)

    @property
    def _status(self) -> str:
        return "Unavailable" if self._availability == "Inoperative" else "Occupied" if self.plugged else "Available"

    async def state(self, status: str) -> None:
        await self.call(call.StatusNotification(self._now(), status, 1, 1))

    async def _event(self, kind: str, trigger: str, **more: Any) -> Any:
        info = {"transaction_id": self.transaction, **more.pop("info", {})}
        value = {"timestamp": self._now(), "sampled_value": [{"value": 100.0 + next(self._numbers)}]}
        return await self.call(call.TransactionEvent(
            kind, self._now(), trigger, next(self._seq), info, evse={"id": 1, "connector_id": 1},
            meter_value=[value], **more,
        ))  # fmt: skip

    # -- drivers

    async def plug(self) -> None:
        self.plugged = True
        if not self.patient and self._now_ms() - self.shown_ms > 1000 * int(self.values["TxCtrlr.EVConnectionTimeOut"]):
            self.token = {}
        await self.state("Occupied")
        await self._start("CablePluggedIn")

    async def present(self, token: Payload, trigger: str = "Authorized") -> None:
        if self.transaction:
            if token["id_token"].lower() == self.token["id_token"].lower():
                await self.stop("StopAuthorized", "Local", token)
            else:
                await self.call(call.Authorize(token))  # whatever the answer: it knows no groups
            return
        answer = await self.call(call.Authorize(token))
        if answer is not None and answer.id_token_info["status"] == "Accepted":
            self.token, self.shown_ms = token, self._now_ms()
            await self._start(trigger)

    async def _start(self, trigger: str) -> None:
        if not self.plugged or not self.token or self.transaction or self._availability == "Inoperative":
            return
        self.transaction, self._seq = f"{IDENTITY}-{next(self._numbers)}-{self._now_ms()}", itertools.count()
        answer = await self._event(
            "Started", trigger, id_token=self.token, info={"charging_state": "EVConnected", **self.remote}
        )
        self.remote = {}
        if answer is not None and answer.id_token_info is not None and answer.id_token_info["status"] != "Accepted":
            await self.stop("Deauthorized", "DeAuthorized")
            return
        await self._event("Updated", "ChargingStateChanged", info={"charging_state": "Charging"})

    async def stop(self, trigger: str, reason: str, token: Payload | None = None) -> None:
        more = {} if token is None else {"id_token": token}
        state = "EVConnected" if self.plugged else "Idle"
        await self._event("Ended", trigger, info={"stopped_reason": reason, "charging_state": state}, **more)
        self.transaction, self.token = "", {}

    async def unplug(self) -> None:
        self.plugged = False
        if self.transaction:
            await self.stop("EVCommunicationLost", "EVDisconnected")
        self.token = {}
        await self.state("Available")

    # -- requests of the back end

    def _result(self, data: Payload) -> tuple[str, Payload]:
        known = {each.partition(".")[0] for each in self.values}
        name = f"{data['component']['name']}.{data['variable']['name']}"
        status = "Accepted" if name in self.values else "UnknownVariable"
        status = status if data["component"]["name"] in known else "UnknownComponent"
        if status == "Accepted" and data.get("attribute_type", "Actual") != "Actual":
            status = "NotSupportedAttributeType"
        return name, {"attribute_status": status, "component": data["component"], "variable": data["variable"]} | (
            {"attribute_type": data["attribute_type"]} if "attribute_type" in data else {}
        )

    @on("GetVariables")
    def reads(self, get_variable_data: list[Payload], **_: Any) -> Any:
        found = []
        for each in get_variable_data:
            name, result = self._result(each)
            value = {"attribute_value": self.values[name]} if result["attribute_status"] == "Accepted" else {}
            found.append(result | value)
        return call_result.GetVariables(found)

    @on("SetVariables")
    def writes(self, set_variable_data: list[Payload], **_: Any) -> Any:
        found = []
        for each in set_variable_data:
            name, result = self._result(each)
            if result["attribute_status"] == "Accepted":
                good = name in _WRITABLE and _kind(_WRITABLE[name]) == _kind(each["attribute_value"])
                result["attribute_status"] = "Accepted" if good else "Rejected"
                if good:
                    self.values[name] = each["attribute_value"]
            found.append(result)
        return call_result.SetVariables(found)

    @on("GetBaseReport")
    def lists(self, request_id: int, report_base: str, **_: Any) -> Any:
        supported = report_base in ("FullInventory", "ConfigurationInventory")
        return call_result.GetBaseReport("Accepted" if supported else "NotSupported")

    @after("GetBaseReport")
    async def has_listed(self, request_id: int, report_base: str, **_: Any) -> None:
        names = self.values if report_base == "FullInventory" else _WRITABLE
        found = []
        for name in names:
            component, _, variable = name.partition(".")
            changes = "ReadWrite" if name in _WRITABLE else "ReadOnly"
            found.append({
                "component": {"name": component}, "variable": {"name": variable},
                "variable_attribute": [{"value": self.values[name], "mutability": changes}],
                "variable_characteristics": {"data_type": "string", "supports_monitoring": False},
            })  # fmt: skip
        half = len(found) // 2
        for number, part in enumerate((found[:half], found[half:])):
            await self.call(call.NotifyReport(request_id, self._now(), number, part, tbc=number == 0))

    @on("Reset")
    def resets(self, type: str, evse_id: int | None = None, **_: Any) -> Any:  # noqa: A002
        return call_result.Reset(
            "Rejected" if evse_id else "Scheduled" if self.transaction and type == "OnIdle" else "Accepted"
        )

    @after("Reset")
    async def has_reset(self, type: str, evse_id: int | None = None, **_: Any) -> None:  # noqa: A002
        if evse_id:
            return
        if type == "Immediate" and self.transaction:
            await self.stop("ResetCommand", "ImmediateReset")
        waited = bool(self.transaction)
        while self.transaction:
            await asyncio.sleep(1)
        await self._reboot("ScheduledReset" if waited else "RemoteReset")

    async def _reboot(self, reason: str) -> None:
        await asyncio.sleep(1)
        self.again = reason
        await self._connection.close()

    @on("TriggerMessage")
    def is_asked(self, requested_message: str, **_: Any) -> Any:
        known = {"BootNotification": "Rejected", "Heartbeat": "Accepted", "StatusNotification": "Accepted"}
        return call_result.TriggerMessage(known.get(requested_message, "NotImplemented"))

    @after("TriggerMessage")
    async def says(self, requested_message: str, **_: Any) -> None:
        if requested_message == "Heartbeat":
            await self.call(call.Heartbeat())
        elif requested_message == "StatusNotification":
            await self.state(self._status)

    @on("RequestStartTransaction")
    def starts(self, id_token: Payload, evse_id: int = 1, **_: Any) -> Any:
        return call_result.RequestStartTransaction("Rejected" if self.transaction or evse_id != 1 else "Accepted")

    @after("RequestStartTransaction")
    async def has_started(self, id_token: Payload, remote_start_id: int, evse_id: int = 1, **_: Any) -> None:
        if not self.transaction and evse_id == 1:
            self.token, self.shown_ms = id_token, self._now_ms()
            self.remote = {"remote_start_id": remote_start_id}
            await self._start("RemoteStart")

    @on("RequestStopTransaction")
    def stops(self, transaction_id: str, **_: Any) -> Any:
        return call_result.RequestStopTransaction("Accepted" if transaction_id == self.transaction else "Rejected")

    @after("RequestStopTransaction")
    async def has_stopped(self, transaction_id: str, **_: Any) -> None:
        if transaction_id == self.transaction:
            await self.stop("RemoteStop", "Remote")

    @on("GetTransactionStatus")
    def tells(self, transaction_id: str | None = None, **_: Any) -> Any:
        ongoing = {} if transaction_id is None else {"ongoing_indicator": transaction_id == self.transaction}
        return call_result.GetTransactionStatus(messages_in_queue=False, **ongoing)

    @on("ChangeAvailability")
    def changes(self, operational_status: str, evse: Payload | None = None, **_: Any) -> Any:
        return call_result.ChangeAvailability("Scheduled" if self.transaction else "Accepted")

    @after("ChangeAvailability")
    async def has_changed(self, operational_status: str, evse: Payload | None = None, **_: Any) -> None:
        while self.transaction:
            await asyncio.sleep(1)
        if operational_status != self._availability:
            self._availability = operational_status
            await self.state(self._status)

    @on("ClearCache")
    def forgets(self, **_: Any) -> Any:
        return call_result.ClearCache("Rejected")

    @on("DataTransfer")
    def transfers(self, **_: Any) -> Any:
        return call_result.DataTransfer("UnknownVendorId")


class Stations:
    """The foreign station, which connects to a tester, and its driver."""

    def __init__(self, change: Change, now_ms: Callable[[], int]) -> None:
        self._change, self._now_ms = change, now_ms
        self.station: Station | None = None

    async def run(self, tester: StationTester) -> None:
        """Connect to the tester, again after each end."""
        while True:
            if tester.refuses:
                await asyncio.sleep(1)
                continue
            lab, device = pipe(self._change)
            before = self.station
            station = Station(device, self._now_ms)
            if before is not None:
                station.take_over(before)
            self.station = station
            serving = asyncio.create_task(tester.serve(OcppSocket(lab, IDENTITY, "2.0.1")))
            reading = asyncio.create_task(self._read(station))
            if before is None or before.again:
                await station.boot("PowerUp" if before is None else before.again)
            await asyncio.wait({serving, reading}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(serving, reading, return_exceptions=True)
            await asyncio.sleep(2)

    async def _read(self, station: Station) -> None:
        try:
            await station.start()
        except ConnectionClosedOK:
            return

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
                    await station.present({"id_token": step.token, "type": step.type})
                case _:
                    raise NotApplicable(f"not possible: {step.sentence}")
