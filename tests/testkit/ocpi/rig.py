"""Our own back end, with a station that obeys, and the lab as its partner; faults may be put between both."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pki_tools.tree import PkiTree
from tests.csms.roaming.peers import LOCATION, PLAN, Operator, operator
from v2g.ocpi.wire import Version
from v2g_testkit.cases.case import Result
from v2g_testkit.ocpi.cases import CASES, OcpiCase, run_case
from v2g_testkit.ocpi.judge import judge_run
from v2g_testkit.ocpi.partner import LabPartner, OcpiBench

HOURS = {"twentyfourseven": False, "regular_hours": [
    {"weekday": each, "period_begin": "06:00", "period_end": "22:00"} for each in range(1, 6)]}  # fmt: skip
SECOND = {**LOCATION, "id": "Yard", "opening_times": HOURS, "help_phone": "+49 30 1234567", "evses": [{
    **LOCATION["evses"][0], "station_id": "CS-V2G-0002", "evse_id": "DE*CPO*E2"}]}  # type: ignore[dict-item,index]  # fmt: skip


class Station:
    """A station on a websocket that carries out what it is asked: sessions begin and end at once."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._transaction, self._seq, self._token = "", 0, {"idToken": "", "type": "Central"}
        self._wh = 1000

    async def run(self) -> None:
        """Boot, then obey until cancelled."""
        await self._send(
            "BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
        )
        await self._status("Available")
        async for frame in self._socket:
            message = json.loads(frame)
            if message[0] == 2:
                _, number, action, payload = message
                answer = {
                    "RequestStartTransaction": {"status": "Accepted"}, "RequestStopTransaction": {"status": "Accepted"},
                    "UnlockConnector": {"status": "Unlocked"}, "ReserveNow": {"status": "Accepted"},
                    "CancelReservation": {"status": "Accepted"}, "SetChargingProfile": {"status": "Accepted"},
                }.get(action)  # fmt: skip
                if answer is None:
                    await self._socket.send(json.dumps([4, number, "NotSupported", "", {}]))
                    continue
                await self._socket.send(json.dumps([3, number, answer]))
                if action == "RequestStartTransaction":
                    self._token, self._transaction, self._seq = payload["idToken"], f"tx-{number}", 0
                    await self._status("Occupied")
                    await self._event(
                        "Started", "RemoteStart", "Charging", "Transaction.Begin", payload["remoteStartId"]
                    )
                elif action == "RequestStopTransaction":
                    self._wh += 50
                    await self._event("Ended", "RemoteStop", "Idle", "Transaction.End")
                    await self._status("Available")

    async def _status(self, status: str) -> None:
        place = {"evseId": 1, "connectorId": 1}
        await self._send("StatusNotification", {"timestamp": _now(), "connectorStatus": status, **place})

    async def _event(self, kind: str, trigger: str, state: str, context: str, start: int | None = None) -> None:
        sample = {"value": self._wh, "context": context}
        info: dict[str, Any] = {"transactionId": self._transaction, "chargingState": state}
        if start is not None:
            info["remoteStartId"] = start
        await self._send("TransactionEvent", {
            "eventType": kind, "triggerReason": trigger, "timestamp": _now(), "seqNo": self._seq,
            "transactionInfo": info, "evse": {"id": 1, "connectorId": 1}, "idToken": self._token,
            "meterValue": [{"timestamp": _now(), "sampledValue": [sample]}],
        })  # fmt: skip
        self._seq += 1

    async def _send(self, action: str, payload: Any) -> None:
        await self._socket.send(json.dumps([2, str(next(self._numbers)), action, payload]))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Rig:
    """A device under test and the lab."""

    def __init__(self, device: Operator, lab: LabPartner) -> None:
        self.device, self.lab = device, lab

    async def pull(self) -> bool:
        """Let the device pull."""
        await self.device.ask("POST", "/roaming/partners/lab/pull")
        return True

    async def run(self, cases: Sequence[OcpiCase] = CASES) -> dict[str, Result]:
        """Run cases, then the judge of the run."""
        known: dict[str, Any] = {}
        results = [await run_case(self.lab, case, known, self.pull) for case in cases]
        return {each.case: each for each in (*results, *judge_run(self.lab))}


@contextlib.asynccontextmanager
async def under_test(
    folder: Path, pki: PkiTree, empty_database: Path, version: Version = "2.2.1", seconds: float = 5,
    lab_of: Callable[..., LabPartner] = LabPartner, **limits: float,
) -> AsyncIterator[Rig]:  # fmt: skip
    """Run our back end in both roles, with a station and two locations, and invite the lab."""
    roaming = {"requests_per_s": 10_000, "requests_at_once": 100_000, **limits}
    async with contextlib.AsyncExitStack() as stack:
        device = await stack.enter_async_context(operator(folder, pki, empty_database, "CPO", roaming=roaming))
        await device.ask("POST", "/tariffs", PLAN, 201)
        await device.ask("PUT", "/tariff-assignments", {"plan_id": PLAN["id"]})
        for place in (LOCATION, SECOND):
            await device.ask("PUT", f"/roaming/locations/{place['id']}", place)
        for number in ("0A1B2C3D", "1A1B2C3D"):
            await device.ask("PUT", f"/tokens/ISO14443/{number}", {"status": "Accepted"})
        station = asyncio.create_task(Station(await stack.enter_async_context(device.csms.connect())).run())
        stack.callback(station.cancel)
        invited = await device.ask("POST", "/roaming/partners", {"partner_id": "lab"}, 201)
        bench = OcpiBench(
            versions_url=invited["versions_url"], token=invited["token"], version=version, seconds=seconds
        )
        lab = lab_of(bench, None, device.csms.context(None))
        lab.open()
        stack.callback(lab.close)
        yield Rig(device, lab)
