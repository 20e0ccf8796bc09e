"""Functional block P, data transfer: cases for charging stations."""

from typing import Final

from v2g_testkit.ocpp.case import Block
from v2g_testkit.ocpp.station_tester import StationTest, variable_of

P: Final[Block[StationTest]] = Block()


@P.case("TC_P_01_CS", "Data transfer of an unknown vendor", also="P01.FR.06", quick=True)
async def unknown_vendor(t: StationTest) -> None:
    """The station answers that it does not know the vendor or the message, or rejects it."""
    answer = await t.ask("DataTransfer", vendorId="example.v2g.conformance", messageId="unknown")
    known = {"UnknownVendorId", "UnknownMessageId", "Rejected"}
    t.check(answer["status"] in known, "P01.FR.05", f"answers {answer['status']}")


@P.case(
    "TC_P_04_CS", "Custom data in a charging profile", also=("Part 2, CustomDataType",), profiles=("Smart Charging",),
    needs=("SmartChargingCtrlr.Enabled",),
)  # fmt: skip
async def custom_data_of_profile(t: StationTest) -> None:
    """The station accepts a charging profile with custom data that it does not know."""
    number = t.next_id()
    custom = {"vendorId": "example.v2g.conformance", "number": 7}
    profile = {
        "id": number,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "customData": custom,
        "chargingSchedule": [
            {
                "id": 1,
                "startSchedule": t.now(),
                "chargingRateUnit": (await t.value("SmartChargingCtrlr", "RateUnit")).split(",")[0],
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0, "customData": custom}],
                "customData": custom,
            }
        ],
    }
    t.undo(lambda: t.ask("ClearChargingProfile", chargingProfileId=number))
    await t.must_answer("Accepted", "Part 2, CustomDataType", "SetChargingProfile", evseId=1, chargingProfile=profile)


@P.case("TC_P_03_CS", "Custom data in a request", also=("Part 2, CustomDataType",))
async def custom_data(t: StationTest) -> None:
    """The station carries out a request with custom data that it does not know."""
    await t.keep("OCPPCommCtrlr", "OfflineThreshold")
    custom = {"vendorId": "example.v2g.conformance", "number": 7}
    data = variable_of("OCPPCommCtrlr", "OfflineThreshold") | {"attributeValue": "200", "customData": custom}
    answer = await t.ask("SetVariables", setVariableData=[data], customData=custom)
    t.equal(answer["setVariableResult"][0]["attributeStatus"], "Accepted", "Part 2, CustomDataType", "answers {}")
    value = await t.value("OCPPCommCtrlr", "OfflineThreshold")
    t.check(value == "200", "Part 2, CustomDataType", f"the value is {value} afterwards")
