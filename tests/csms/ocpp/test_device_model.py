"""Functional block B, provisioning, beyond the cases of the test lab."""

import asyncio
from typing import Any

import msgspec
import pytest

from csms.admission.work import StationAdmissions
from csms.config import StationEntry
from csms.device_model import store as device_model
from csms.device_model import work as model
from tests.csms.backend import BOOT, Backend
from tests.csms.fixtures import Start
from tests.csms.network import knocking, listening
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData, NetworkConnectionProfile, SetVariableData

CS = "CS-V2G-0001"
NOW = "2026-01-01T00:00:00Z"
AVAILABLE = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": NOW}
PENDING = (StationEntry(id=CS, boot="Pending"),)
REJECTED = (StationEntry(id=CS, boot="Rejected"),)
PROFILE = NetworkConnectionProfile(
    ocpp_version="OCPP20",
    ocpp_interface="Wired0",
    ocpp_transport="JSON",
    message_timeout=30,
    ocpp_csms_url="wss://csms.example/ocpp",
    security_profile=2,
)


def available(actual: str = "Available") -> Payload:
    """A NotifyEvent about a connector's state, as the test system sends it beside StatusNotification."""
    data = {
        "eventId": 1,
        "timestamp": NOW,
        "trigger": "Delta",
        "actualValue": actual,
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
        "variable": {"name": "AvailabilityState"},
    }
    return {"generatedAt": NOW, "seqNo": 0, "eventData": [data]}


async def boots(station: ScriptedStation, reason: str = "PowerUp", status: str = "Accepted") -> Payload:
    """Boot, be answered so, and, once accepted, tell the connectors' state."""
    answer = await station.call("BootNotification", {**BOOT, "reason": reason})
    assert answer["status"] == status
    if status == "Accepted":
        assert await station.call("StatusNotification", AVAILABLE) == {}
        assert await station.call("NotifyEvent", available()) == {}
    return answer


async def test_a_pending_station_is_read_and_configured_before_it_is_accepted(backend: Start) -> None:
    async with backend(stations=PENDING) as csms:
        station = await csms.join()
        answer = await boots(station, status="Pending")
        assert answer["interval"] > 0
        station.answers["GetVariables"] = read  # meanwhile its configuration may be read and changed (B02.FR.01)
        (found,) = await model.get_variables(csms.services, CS, [wanted("OCPPCommCtrlr", "OfflineThreshold")])
        assert found.attribute_status == "Accepted"
        station.answers["GetBaseReport"] = {"status": "Accepted"}
        asked = await model.read_base(csms.services, CS)
        await station.call("NotifyReport", report(asked.request_id, 0, ["A"], last=True))  # B02.FR.02
        station.answers["TriggerMessage"] = {"status": "Accepted"}
        await csms.services[StationAdmissions].decide(CS, "Accepted", "tests")
        await boots(station, "Triggered")


async def test_nothing_is_sent_to_a_station_whose_boot_was_rejected(backend: Start) -> None:
    async with backend(stations=REJECTED) as csms:
        station = await csms.join()
        await boots(station, status="Rejected")
        with pytest.raises(RefusedError):  # B03.FR.03
            await model.reset(csms.services, CS)
        assert station.calls == []


# -- variables


def wanted(component: str, variable: str, instance: str | None = None) -> GetVariableData:
    return GetVariableData(component=Component(name=component), variable=Variable(name=variable, instance=instance))


def read(payload: Payload) -> Payload:
    """Answer GetVariables: every value is the variable's name."""
    results = [
        {**each, "attributeStatus": "Accepted", "attributeValue": each["variable"]["name"]}
        for each in payload["getVariableData"]
    ]
    return {"getVariableResult": results}


def taken(payload: Payload) -> Payload:
    """Answer SetVariables: everything is taken."""
    results = [
        {"component": each["component"], "variable": each["variable"], "attributeStatus": "Accepted"}
        for each in payload["setVariableData"]
    ]
    return {"setVariableResult": results}


async def value(csms: Backend, component: str, variable: str) -> Any:
    """What the mirror holds."""
    rows = await csms.services.store.run(device_model.list_variables, CS, component, variable)
    return [row["value"] for row in rows]


def setting(component: str, variable: str, text: str) -> SetVariableData:
    return SetVariableData(component=Component(name=component), variable=Variable(name=variable), attribute_value=text)


async def test_a_variable_is_set_once_in_a_request(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["SetVariables"] = taken
    data = [setting("OCPPCommCtrlr", "OfflineThreshold", "123"), setting("AuthCtrlr", "AuthorizeRemoteStart", "false")]
    await model.set_variables(csms.services, CS, data)
    (payload,) = station.payloads("SetVariables")
    assert [each["attributeValue"] for each in payload["setVariableData"]] == ["123", "false"]
    with pytest.raises(RefusedError):  # B05.FR.13
        await model.set_variables(csms.services, CS, [data[0], data[0]])


async def test_what_needs_a_reboot_is_in_the_mirror_after_it(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["SetVariables"] = taken
    data = setting("OCPPCommCtrlr", "OfflineThreshold", "1")
    await model.set_variables(csms.services, CS, [data])
    station.answers["SetVariables"] = lambda payload: {
        "setVariableResult": [{**taken(payload)["setVariableResult"][0], "attributeStatus": "RebootRequired"}]
    }
    await model.set_variables(csms.services, CS, [setting("OCPPCommCtrlr", "OfflineThreshold", "2")])
    assert await value(csms, "OCPPCommCtrlr", "OfflineThreshold") == ["1"]
    await boots(station, "LocalReset")
    async with asyncio.timeout(60):
        while await value(csms, "OCPPCommCtrlr", "OfflineThreshold") != ["2"]:
            await asyncio.sleep(0)


# -- reports


def report(number: int, seq_no: int, variables: list[str], *, last: bool) -> Payload:
    """A part of a report."""
    data = [
        {
            "component": {"name": "Test"},
            "variable": {"name": name},
            "variableAttribute": [{"value": f"value of {name}", "mutability": "ReadOnly"}],
            "variableCharacteristics": {"dataType": "string", "supportsMonitoring": False},
        }
        for name in variables
    ]
    return {"requestId": number, "generatedAt": NOW, "seqNo": seq_no, "tbc": not last, "reportData": data}


async def test_a_new_station_is_asked_for_its_device_model_and_events_keep_it_up_to_date(backend: Start) -> None:
    async with backend(ocpp={"read_device_model": True}) as csms:
        station = await csms.join()
        answer = await station.call("BootNotification", BOOT)
        assert answer["status"] == "Accepted"
        request = await station.expect("GetBaseReport")
        assert request.payload["reportBase"] == "FullInventory"
        request.reply({"status": "Accepted"})
        part = report(request.payload["requestId"], 0, ["AvailabilityState"], last=True)
        part["reportData"][0]["component"] = {"name": "Connector", "evse": {"id": 1, "connectorId": 1}}
        await station.call("NotifyReport", part)
        await station.call("NotifyEvent", available("Occupied"))
        assert await value(csms, "Connector", "AvailabilityState") == ["Occupied"]
        await station.call("BootNotification", BOOT)
        await station.call("Heartbeat")
        assert len(station.payloads("GetBaseReport")) == 1  # it is known, and has the same firmware


# -- network profiles


async def test_a_network_profile_that_failed_is_not_stored(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["SetNetworkProfile"] = {"status": "Failed"}
    assert (await model.set_network_profile(csms.services, CS, 2, PROFILE)).status == "Failed"
    assert await csms.services.store.run(device_model.list_profiles, CS) == []
    assert (await station.call("Heartbeat"))["currentTime"]


async def test_subprotocols_that_this_back_end_does_not_speak_are_noted(backend: Start) -> None:
    async with backend(ocpp={"security_profile": 1}) as csms, listening(csms) as (port,):
        password = await csms.services[StationAdmissions].set_password(CS)
        offered = ("ocpp1.5", "ocpp2.0.1", "ocpp0.1")
        async with knocking(port, CS, password=password, versions=offered) as station:
            assert station.version == "2.0.1"
            await boots(station)
        async with knocking(port, CS, password=password, versions=("ocpp1.5",)) as station:
            code, reason = await station.ended()
            assert (code, "ocpp2.0.1" in reason) == (1002, True)
        (fault,) = await csms.faults(CS)
        assert (fault["kind"], "ocpp1.5" in fault["detail"]) == ("subprotocol", True)


# -- OCPP 2.1


async def test_the_password_of_a_network_profile_is_not_stored(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers["SetNetworkProfile"] = {"status": "Accepted"}
    secret = "a-Password_of=32*characters+4321"
    profile = msgspec.structs.replace(PROFILE, ocpp_version=None, identity="CS-OTHER", basic_auth_password=secret)
    with pytest.raises(RefusedError, match="CS-OTHER is not admitted"):
        await model.set_network_profile(csms.services, CS, 3, profile)
    await csms.services[StationAdmissions].decide("CS-OTHER", "Accepted", "test")
    await model.set_network_profile(csms.services, CS, 3, profile)
    (sent,) = station.payloads("SetNetworkProfile")
    assert sent["connectionData"]["identity"] == "CS-OTHER"
    assert sent["connectionData"]["basicAuthPassword"] == secret
    (kept,) = await csms.services.store.run(device_model.list_profiles, CS)
    assert ("CS-OTHER" in kept["document"], secret in kept["document"]) == (True, False)


async def test_the_slot_in_use_is_not_changed(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers["SetVariables"] = taken

    def of(slot: str) -> list[SetVariableData]:
        values = {"OcppCsmsUrl": "wss://csms.example/ocpp", "SecurityProfile": "2", "OcppInterface": "Any"}
        component = Component(name="NetworkConfiguration", instance=slot)
        return [
            SetVariableData(component=component, variable=Variable(name=name), attribute_value=text)
            for name, text in values.items()
        ]

    await model.prioritise(csms.services, CS, [1, 2])
    await model.set_variables(csms.services, CS, of("3"))
    await model.prioritise(csms.services, CS, [3, 1])
    sent = [payload["setVariableData"] for payload in station.payloads("SetVariables")]
    assert [len(each) for each in sent] == [1, 3, 1]
    assert {each["component"]["instance"] for each in sent[1]} == {"3"}
    assert sent[2][0]["attributeValue"] == "3,1"
    with pytest.raises(RefusedError):  # B09.FR.10
        await model.set_variables(csms.services, CS, of("1"))
