"""Functional block P, data transfer: cases for back ends."""

from typing import Final

from v2g_testkit.ocpp.case import Block
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest

P: Final[Block[CsmsTest]] = Block(booted=True)

_CUSTOM: Final = {"vendorId": "com.example.conformance", "version": "1.0"}


@P.case("TC_P_02_CSMS", "Message of an unknown vendor", also="P02.FR.07", quick=True)
async def unknown_vendor(t: CsmsTest) -> None:
    """The back end does not accept a vendor's message that it does not know."""
    answer = await t.call("DataTransfer", vendorId=_CUSTOM["vendorId"], messageId="Unknown")
    status = answer["status"]
    expected = ("UnknownVendorId", "UnknownMessageId", "Rejected")
    t.check(status in expected, "P02.FR.06", f"answers a message that it does not know with {status}")


@P.case("TC_P_03_CSMS", "Custom data", also="P02")
async def custom_data(t: CsmsTest) -> None:
    """The back end acknowledges messages with vendors' own fields."""
    about = {"evseId": 1, "connectorId": 1, "connectorStatus": "Occupied", "timestamp": t.now()}
    await t.call("StatusNotification", customData=_CUSTOM, **about)
    await Transaction(t).event("Started", "CablePluggedIn", info={"customData": _CUSTOM}, customData=_CUSTOM)
