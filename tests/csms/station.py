"""What several tests of station use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import ocpp.v21
import ocpp.v201
from ocpp.routing import on
from ocpp.v21 import call as call21
from ocpp.v21 import call_result as result21
from ocpp.v201 import call as call201

from tests.csms.support import STATION, Running


class Station21(ocpp.v21.ChargePoint):  # type: ignore[misc]  # published without types
    """A 2.1 station that accepts and keeps whatever it receives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.profiles: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @on("SetChargingProfile")
    async def set_profile(self, evse_id: int, charging_profile: dict[str, Any], **_: Any) -> Any:
        await self.gate.wait()
        self.profiles.append({"evse_id": evse_id, **charging_profile})
        return result21.SetChargingProfile(status="Accepted")

    @on("GetChargingProfiles")
    async def get_profiles(self, **_: Any) -> Any:
        return result21.GetChargingProfiles(status="NoProfiles")

    @on("DataTransfer")
    async def data_transfer(self, vendor_id: str, message_id: str, data: Any, **_: Any) -> Any:
        self.transfers.append({"vendor_id": vendor_id, "message_id": message_id, "data": data})
        return result21.DataTransfer(status="Accepted")


class Station201(ocpp.v201.ChargePoint):  # type: ignore[misc]
    """The same on 2.0.1."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.profiles: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []

    @on("SetChargingProfile")
    async def set_profile(self, evse_id: int, charging_profile: dict[str, Any], **_: Any) -> Any:
        self.profiles.append({"evse_id": evse_id, **charging_profile})
        return ocpp.v201.call_result.SetChargingProfile(status="Accepted")

    @on("DataTransfer")
    async def data_transfer(self, vendor_id: str, message_id: str, data: Any, **_: Any) -> Any:
        self.transfers.append({"vendor_id": vendor_id, "message_id": message_id, "data": data})
        return ocpp.v201.call_result.DataTransfer(status="Accepted")


@contextlib.asynccontextmanager
async def station(
    csms: Running, version: str = "ocpp2.1", identity: str = STATION, kind: type[Any] | None = None
) -> AsyncIterator[Any]:
    """Connect a station and run it."""
    async with csms.connect(identity, (version,)) as websocket:
        point = (kind or (Station21 if version == "ocpp2.1" else Station201))(identity, websocket)
        task = asyncio.create_task(point.start())
        try:
            yield point
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


def messages(version: str) -> ModuleType:
    """Return the requests of a version."""
    return call21 if version == "ocpp2.1" else call201


async def boot(point: Any, version: str = "ocpp2.1", **more: Any) -> Any:
    """Send BootNotification."""
    about = {"model": "V2G-1", "vendor_name": "Independent", **more}
    return await point.call(
        messages(version).BootNotification(charging_station=about, reason="PowerUp"), suppress=False
    )
