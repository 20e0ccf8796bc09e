"""Functional block S, battery swapping: cases for back ends, of OCPP 2.1."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload
from v2g_testkit.ocpp.csms_tester import CsmsTest

S: Final[Block[CsmsTest]] = Block(profiles=(), versions=("2.1",), needs=("battery swaps",), booted=True)


async def _swap(t: CsmsTest, **answer: object) -> Payload:
    """Have the back end begin a swap for the driver, which the station answers so; return the request."""
    t.answer("RequestBatterySwap", dict(answer))
    return await t.asked("RequestBatterySwap", "S02", requestId=t.next_id(), idToken=t.declared.token.payload)


@S.case("TC_S_102_CSMS", "Remote swap without enough batteries", requirements=("S02",))
async def none_left(t: CsmsTest) -> None:
    """The back end names the driver, and continues after the rejection."""
    await _swap(t, status="Rejected", statusInfo={"reasonCode": "NoBatteryAvailable"})
    await t.call("Heartbeat")


@S.case("TC_S_103_CSMS", "Remote swap", requirements=("S02", "S03"))
async def swaps(t: CsmsTest) -> None:
    """The back end names the driver, and acknowledges the batteries that are put in and taken out, once more too."""
    number = (await _swap(t, status="Accepted"))["requestId"]
    for change, slot, soc in (("BatteryIn", 1, 12.0), ("BatteryOut", 2, 95.0), ("BatteryOut", 2, 95.0)):
        battery = {"evseId": slot, "serialNumber": f"V2G-BATTERY-{slot}", "soC": soc, "soH": 98.0}
        token = t.declared.token.payload
        await t.call("BatterySwap", eventType=change, requestId=number, idToken=token, batteryData=[battery])
