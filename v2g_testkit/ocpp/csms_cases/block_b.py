"""Functional block B, provisioning: cases for back ends."""

import asyncio
from typing import Final

from v2g.io.runtime.supervision import child
from v2g_testkit.ocpp.case import Block, Payload, given
from v2g_testkit.ocpp.connection import judge_unknown
from v2g_testkit.ocpp.csms_cases.transaction import Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.station_tester import variable_of

B: Final[Block[CsmsTest]] = Block(booted=True)
B_COLD: Final = B.having(booted=False)
B_SEVERAL: Final = B.having(needs=("several variables in one request",))


@B_COLD.case("TC_B_58_CSMS", "WebSocket subprotocols", also=("OCPP-J 3.3",))
async def subprotocols(t: CsmsTest) -> None:
    """The back end agrees to the version that it has; without one it completes the handshake, and closes."""
    await t.disconnect()
    own = f"ocpp{t.version}"
    chosen = await t.agreed(_UNKNOWN, own)
    t.check(chosen == own, "OCPP-J 3.3", f"agrees to {chosen} instead of {own}")
    chosen = await t.agreed(_UNKNOWN)
    t.check(chosen is None, "OCPP-J 3.3", f"agrees to {chosen}, which no version has")


_UNKNOWN: Final = "ocpp0.1"


# -- boot


@B_COLD.case("TC_B_01_CSMS", "Cold boot, accepted", also="B01.FR.02", quick=True)
async def cold_boot(t: CsmsTest) -> None:
    """The back end accepts a station that it knows, and acknowledges the state of its connectors."""
    await t.booted()


@B_COLD.case("TC_B_02_CSMS", "Cold boot, pending", also="B02.FR.01 B02.FR.06", needs=("boot: pending",))
async def pending(t: CsmsTest) -> None:
    """The back end answers Pending first; once it accepts the station, it acknowledges its connectors' state."""
    await t.registration("Pending")
    await t.connect()
    _has_status(t, await t.boot(), "Pending")
    await t.operate("Registration", status="Accepted")
    await t.booted()


def _has_status(t: CsmsTest, answer: Payload, *expected: str) -> None:
    status = answer["status"]
    t.check(status in expected, "B01.FR.02", f"answers BootNotification with {status}, not {' or '.join(expected)}")


def _security_error(status: str, id: str, requirement: str) -> None:  # noqa: A002 - as in every case
    @B_COLD.case(
        id, f"Messages of a station that is {status.lower()}", also="B01.FR.10",
        needs=(f"boot: {status.lower()}",),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end answers what a station may not send yet with the CALLERROR SecurityError."""
        await t.registration(status)
        await t.connect()
        _has_status(t, await t.boot(), status)
        about = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": t.now()}
        error = await t.refused("StatusNotification", requirement, **about)
        t.check(error.code == "SecurityError", requirement, f"answers StatusNotification with {error.code}")


_security_error("Pending", "TC_B_30_CSMS", "B02.FR.09")
_security_error("Rejected", "V2G-B-01-CSMS", "B03.FR.07")


@B_COLD.case(
    "TC_B_31_CSMS", "Boot that the back end triggers", also="B01.FR.02", needs=("boot: pending", "trigger of a boot")
)
async def triggered_boot(t: CsmsTest) -> None:
    """The back end triggers BootNotification of a station that was pending, and accepts it."""
    await t.registration("Pending")
    await t.connect()
    _has_status(t, await t.boot(), "Pending")
    await t.operate("Registration", status="Accepted")
    if not t.received("TriggerMessage"):  # some back ends do it by themselves, others when they are asked
        await t.asked("TriggerMessage", "F06.FR.01", free=("evse",), requestedMessage="BootNotification")
    else:
        await t.expect("TriggerMessage", "F06.FR.01", requestedMessage="BootNotification")
    await t.booted("Triggered")


# -- variables

_OFFLINE: Final = variable_of("OCPPCommCtrlr", "OfflineThreshold")
_REMOTE: Final = variable_of("AuthCtrlr", "AuthorizeRemoteStart")


@B.case("TC_B_06_CSMS", "Get one variable", also="B06.FR.02", quick=True)
async def get_one(t: CsmsTest) -> None:
    """The back end asks for the actual value of the variable."""
    await t.asked("GetVariables", "B06.FR.01", getVariableData=[_OFFLINE])


@B_SEVERAL.case("TC_B_07_CSMS", "Get several variables", also="B06.FR.02")
async def get_several(t: CsmsTest) -> None:
    """The back end asks for all of them in one request."""
    await t.asked("GetVariables", "B06.FR.01", getVariableData=[_OFFLINE, _REMOTE])


@B_SEVERAL.case("TC_B_08_CSMS", "Get more variables than fit into a request", requirements="B06.FR.05")
async def get_in_parts(t: CsmsTest) -> None:
    """The back end sends no more than ItemsPerMessage variables in a request, and asks for all of them."""
    most = variable_of("DeviceDataCtrlr", "ItemsPerMessage", instance="GetVariables")
    await given(t.asked("GetVariables", getVariableData=[most]))
    wanted = [
        most,
        *(
            variable_of("DeviceDataCtrlr", each, instance="GetReport")
            for each in ("ItemsPerMessage", "BytesPerMessage")
        ),
        variable_of("DeviceDataCtrlr", "BytesPerMessage", instance="GetVariables"),
        _REMOTE,
    ]
    await t.operate("GetVariables", getVariableData=wanted)
    got: list[Payload] = []
    while len(got) < len(wanted):
        part = (await t.expect("GetVariables", "B06.FR.01"))["getVariableData"]
        t.check(len(part) <= 4, "B06.FR.05", f"asks for {len(part)} variables at once, of a station that takes 4")
        got += part
    names = {(each["variable"]["name"], each["variable"].get("instance")) for each in got}
    t.check(len(names) == len(wanted), "B06.FR.01", f"asks for {sorted(map(str, names))}")


@B.case("TC_B_09_CSMS", "Set one variable", also="B05.FR.02 B05.FR.12", quick=True)
async def set_one(t: CsmsTest) -> None:
    """The back end sets the actual value of the variable."""
    sent = await t.asked("SetVariables", "B05.FR.01", setVariableData=[_OFFLINE | {"attributeValue": "123"}])
    _sets_actual(t, sent)


@B_SEVERAL.case("TC_B_10_CSMS", "Set several variables", also="B05.FR.02 B05.FR.12")
async def set_several(t: CsmsTest) -> None:
    """The back end sets the actual values of all of them in one request."""
    data = [_OFFLINE | {"attributeValue": "123"}, _REMOTE | {"attributeValue": "false"}]
    _sets_actual(t, await t.asked("SetVariables", "B05.FR.01", setVariableData=data))


def _sets_actual(t: CsmsTest, sent: Payload) -> None:
    kinds = {each.get("attributeType", "Actual") for each in sent["setVariableData"]}
    t.check(kinds == {"Actual"}, "B05.FR.12", f"sets the attributes {sorted(kinds)}")


# -- reports


def _base_report(id: str, base: str, requirement: str) -> None:  # noqa: A002
    @B.case(
        id,
        f"Base report {base}",
        also="B07.FR.01",
        profiles=("Core", "Advanced Device Management")
        if base == "ConfigurationInventory"
        else ("Advanced Device Management",)
        if base == "SummaryInventory"
        else ("Core",),
        needs=(base,),
    )
    async def script(t: CsmsTest) -> None:
        """The back end asks for the report, and acknowledges each of its parts."""
        t.answer("GetBaseReport", {"status": "Accepted"})
        sent = await t.asked("GetBaseReport", requirement, requestId=t.next_id(), reportBase=base)
        t.check(sent["requestId"] >= 0, requirement, f"the requestId is {sent['requestId']}")
        await _report(t, sent["requestId"], parts=2)


_base_report("TC_B_12_CSMS", "ConfigurationInventory", "B07.FR.07")
_base_report("TC_B_13_CSMS", "FullInventory", "B07.FR.08")
_base_report("TC_B_14_CSMS", "SummaryInventory", "B07.FR.09")


async def _report(t: CsmsTest, number: int, parts: int) -> None:
    for part in range(parts):
        data = {
            "component": {"name": "EVSE", "evse": {"id": part + 1}},
            "variable": {"name": "AvailabilityState"},
            "variableAttribute": [{"value": "Available", "mutability": "ReadOnly"}],
            "variableCharacteristics": {"dataType": "OptionList", "supportsMonitoring": True},
        }
        about = {"requestId": number, "generatedAt": t.now(), "seqNo": part, "tbc": part + 1 < parts}
        await t.call("NotifyReport", **about, reportData=[data])


@B.case(
    "TC_B_18_CSMS", "Custom report by criterion and variable", also="B08.FR.03",
    profiles=("Advanced Device Management",), needs=("custom reports",),
)  # fmt: skip
async def custom_report(t: CsmsTest) -> None:
    """The back end asks for the variable of the components that meet the criterion."""
    named = [{"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "AvailabilityState"}}]
    for criterion, status in (("Problem", "EmptyResultSet"), ("Available", "Accepted")):
        t.answer("GetReport", {"status": status})
        criteria: Payload = {"componentCriteria": [criterion], "componentVariable": named}
        sent = await t.asked("GetReport", "B08.FR.01", requestId=t.next_id(), **criteria)
    await _report(t, sent["requestId"], parts=1)


# -- reset


@B.case("TC_B_20_CSMS", "Reset on idle without a transaction", also="B01.FR.02", quick=True)
async def reset_on_idle(t: CsmsTest) -> None:
    """The back end resets the whole station when idle, and accepts it after the reboot."""
    await t.asked("Reset", "B11.FR.04", type="OnIdle")
    await _reboots(t, "RemoteReset")


async def _reboots(t: CsmsTest, reason: str) -> None:
    await t.away()
    await t.booted(reason)


async def _until_idle(t: CsmsTest, transaction: Transaction) -> None:
    transaction.accepted(
        await transaction.event("Updated", "StopAuthorized", state="EVConnected", token=t.declared.token)
    )
    await transaction.event("Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected")


@B.case("TC_B_21_CSMS", "Reset on idle with a transaction", also="B12.FR.03")
async def reset_scheduled(t: CsmsTest) -> None:
    """The back end resets the whole station when idle, and follows the transaction and the boot."""
    transaction = await charging(t)
    t.answer("Reset", {"status": "Scheduled"})
    await t.asked("Reset", "B12.FR.01", type="OnIdle")
    await _until_idle(t, transaction)
    await _reboots(t, "ScheduledReset")


@B.case("TC_B_22_CSMS", "Immediate reset with a transaction", also="B12.FR.04")
async def reset_at_once(t: CsmsTest) -> None:
    """The back end resets the whole station at once, and acknowledges the end of the transaction and the boot."""
    transaction = await charging(t)
    await t.asked("Reset", "B12.FR.02", type="Immediate")
    await transaction.event("Ended", "ResetCommand", state="EVConnected", stopped="ImmediateReset")
    await _reboots(t, "RemoteReset")
    await t.connector("Occupied")


@B.case("TC_B_25_CSMS", "Reset of an EVSE without a transaction", needs=("reset of an EVSE",))
async def reset_evse(t: CsmsTest) -> None:
    """The back end resets the one EVSE when idle."""
    await t.asked("Reset", "B11.FR.08", type="OnIdle", evseId=1)


@B.case("TC_B_26_CSMS", "Reset of an EVSE on idle with a transaction", needs=("reset of an EVSE",))
async def reset_evse_scheduled(t: CsmsTest) -> None:
    """The back end resets the one EVSE when idle, and follows the transaction to its end."""
    transaction = await charging(t)
    t.answer("Reset", {"status": "Scheduled"})
    await t.asked("Reset", "B12.FR.07", type="OnIdle", evseId=1)
    await _until_idle(t, transaction)


@B.case("TC_B_27_CSMS", "Immediate reset of an EVSE with a transaction", needs=("reset of an EVSE",))
async def reset_evse_at_once(t: CsmsTest) -> None:
    """The back end resets the one EVSE at once, and acknowledges the end of the transaction."""
    transaction = await charging(t)
    await t.asked("Reset", "B12.FR.08", type="Immediate", evseId=1)
    await transaction.event("Ended", "ResetCommand", state="EVConnected", stopped="ImmediateReset")


# -- network profiles

_WAY: Final[Payload] = {
    "ocppVersion": "OCPP20",
    "ocppInterface": "Wired0",
    "ocppTransport": "JSON",
    "messageTimeout": 30,
    "ocppCsmsUrl": "wss://csms.example/ocpp",
    "securityProfile": 2,
}


def _network_profile(id: str, status: str, requirement: str) -> None:  # noqa: A002
    @B.case(id, f"Network profile that the station answers with {status}", requirements=("B09.FR.01", requirement))
    async def script(t: CsmsTest) -> None:
        """The back end sends the profile with all of its fields, and continues after the answer."""
        t.answer("SetNetworkProfile", {"status": status})
        await t.asked("SetNetworkProfile", requirement, configurationSlot=2, connectionData=_WAY)
        await t.call("Heartbeat")


_network_profile("TC_B_42_CSMS", "Accepted", "B09.FR.01")
_network_profile("TC_B_44_CSMS", "Failed", "B09.FR.03")


@B.case("V2G-B-02-CSMS", "Time of a heartbeat", quick=True)
async def heartbeat(t: CsmsTest) -> None:
    """The back end answers Heartbeat with its current time."""
    t.is_now((await t.call("Heartbeat"))["currentTime"], "G02.FR.03")


@B.case("V2G-B-03-CSMS", "An answer that takes its time", requirements=("OCPP-J 4.1.1",))
async def slow_answer(t: CsmsTest) -> None:
    """The back end sends its next request when it has the station's answer to the one before."""
    wanted = [variable_of("OCPPCommCtrlr", each) for each in ("OfflineThreshold", "HeartbeatInterval")]
    async with t.holding():
        doing = []
        for each in wanted:
            doing.append(child(t.operate("GetVariables", getVariableData=[each])))
            await asyncio.wait(doing[-1:], timeout=min(3.0, t.declared.seconds / 4))
            if doing[-1].done():
                doing[-1].result()
    await asyncio.gather(*doing)
    await given(t.expect("GetVariables"))


@B.case("V2G-B-04-CSMS", "Request that no version has", requirements=("OCPP-J 4.3",), quick=True)
async def unknown_action(t: CsmsTest) -> None:
    """The back end answers it with NotImplemented or NotSupported, or not at all, and answers the next request."""
    await judge_unknown(t, t.call("UnknownToAll"))
    await t.call("Heartbeat")


# -- network profiles of OCPP 2.1


@B.case(
    "TC_B_100_CSMS", "Network profile with an identity and a password", versions=("2.1",), needs=("network profiles",)
)
async def network_profile(t: CsmsTest) -> None:
    """The back end sends both in the profile."""
    data = {
        "ocppVersion": "OCPP21", "ocppTransport": "JSON", "ocppInterface": "Any", "messageTimeout": 30,
        "ocppCsmsUrl": "wss://csms.example/ocpp", "securityProfile": 2,
        "identity": "CS-V2G-OTHER", "basicAuthPassword": "a-password-of-the-tester",
    }  # fmt: skip
    await t.asked("SetNetworkProfile", "B09.FR.14", configurationSlot=2, connectionData=data)


@B.case(
    "TC_B_105_CSMS", "Network profile by variables", also="B10.FR.01", versions=("2.1",),
    needs=("network profiles by variables",),
)  # fmt: skip
async def profile_by_variables(t: CsmsTest) -> None:
    """The back end sets the variables of the free slot, with those of APN and VPN, then the slot's priority."""
    await given(_prioritises(t, "1,2"))
    values = {
        "OcppCsmsUrl": "wss://csms.example/ocpp", "OcppInterface": "Any", "OcppTransport": "JSON",
        "MessageTimeout": "30", "SecurityProfile": "2", "ApnEnabled": "false", "VpnEnabled": "false",
    }  # fmt: skip
    component = {"name": "NetworkConfiguration", "instance": "3"}
    await t.operate(
        "SetVariables",
        setVariableData=[
            {"component": component, "variable": {"name": name}, "attributeValue": value}
            for name, value in values.items()
        ],
    )
    found: dict[str, str] = {}
    while values.keys() - found.keys():
        sent = (await t.expect("SetVariables", "B09.FR.30"))["setVariableData"]
        for each in (one for one in sent if one["component"]["name"] == component["name"]):
            slot, name = each["component"].get("instance"), each["variable"]["name"]
            t.check(slot == "3", "B09.FR.21", f"sets {name} of slot {slot} instead of 3")
            found[name] = each["attributeValue"]
    wrong = sorted(name for name, value in values.items() if found[name].lower() != value.lower())
    t.check(not wrong, "B09.FR.30", f"sets other values of {', '.join(wrong)}")
    await _prioritises(t, "3,1")


async def _prioritises(t: CsmsTest, slots: str) -> None:
    """Have the back end set which slots the station uses. Raises Failed."""
    place = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
    await t.asked("SetVariables", "B10.FR.01", setVariableData=[place | {"attributeValue": slots}])
